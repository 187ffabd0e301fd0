# The bridge as a container: built from this checkout, run as an unprivileged user.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.json tsconfig.build.json ./
COPY src ./src
# `npm ci` also builds, by the package's `prepare`; the compiler and the rest of what builds is then left behind.
RUN npm ci && npm prune --omit=dev --ignore-scripts

FROM node:24-slim
ENV NODE_ENV=production
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY schema ./schema
COPY examples ./examples
USER node
ENTRYPOINT ["node", "/app/dist/main.js"]
