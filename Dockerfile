# The bridge as a container: built from this checkout, run by an unprivileged user, on a root file system that nothing
# writes to. All that it keeps is in one volume.
#
#   docker build -t openclaw-otel-bridge .
#   docker run --read-only --tmpfs /tmp -v bridge:/var/lib/openclaw-otel-bridge openclaw-otel-bridge run --from …
ARG NODE_IMAGE=node:24.21.0-slim

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# The packages first: they change more seldom than the sources. Those with native parts bring them ready-made, so that no
# install script has to run.
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
# What only builds is left behind.
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
# A new volume that is mounted here belongs to the same user.
RUN install -d -o node -g node -m 0700 /var/lib/openclaw-otel-bridge
VOLUME /var/lib/openclaw-otel-bridge
USER node
# A bridge that works writes its ledger once a second. Another command than `run` keeps none, and is done before this matters.
HEALTHCHECK --interval=30s --timeout=10s --start-period=15s --retries=3 \
  CMD ["node", "/app/dist/main.js", "status", "--check"]
ENTRYPOINT ["node", "/app/dist/main.js"]
