# The bridge as a container image, built from this checkout. It runs as an unprivileged user and works with a read-only root
# file system. All of its data is in one volume.
#
#   docker build -t openclaw-otel-bridge .
#   docker run --read-only --tmpfs /tmp -v bridge:/var/lib/openclaw-otel-bridge openclaw-otel-bridge run --from …
ARG NODE_IMAGE=node:24.21.0-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# Dependencies first: they change less often than the sources. Packages with native parts contain prebuilt binaries, so no
# install scripts are needed.
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
# Removes the packages that are only needed to build.
RUN npm run build && npm prune --omit=dev --ignore-scripts

FROM ${NODE_IMAGE}
LABEL org.opencontainers.image.title="openclaw-otel-bridge" \
      org.opencontainers.image.description="OpenClaw's agent event stream as OpenTelemetry traces, metrics and logs" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
# The data directory is $XDG_STATE_HOME/openclaw-otel-bridge.
ENV NODE_ENV=production \
    XDG_STATE_HOME=/var/lib
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY LICENSE ./
COPY schema ./schema
COPY examples ./examples
# A new volume mounted here gets the owner of this directory.
RUN install -d -o node -g node -m 0700 /var/lib/openclaw-otel-bridge
VOLUME /var/lib/openclaw-otel-bridge
USER node
# A working bridge writes its status record at least every five seconds. Other commands than `run` write none, but end before
# this matters.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s --retries=3 \
  CMD ["node", "/app/dist/main.js", "status", "--check"]
ENTRYPOINT ["node", "/app/dist/main.js"]
