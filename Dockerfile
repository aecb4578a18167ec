# The service in a container: see docs/deploy.md. test/deploy/dockerfile.test.ts runs its steps.
# Node 24 is the oldest line with long-term support whose HTTP/2 closes every broken connection. The tag is not pinned
# to a digest, so a rebuild includes current patches of Node and Debian. For reproducible builds, pin it:
# FROM node:24-bookworm-slim@sha256:…

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY plugin/package.json plugin/
COPY service/package.json service/
# No package needs its install script: lmdb brings its binaries as packages.
RUN npm ci --ignore-scripts
COPY tsconfig.json ./
COPY scripts/bundle.js scripts/
COPY plugin plugin
COPY service service
RUN npm run build -w fastify-resumable-sse -w resumable-sse
RUN npm prune --omit=dev --ignore-scripts

FROM node:24-bookworm-slim
WORKDIR /app
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/plugin/package.json plugin/
COPY --from=build /app/plugin/dist plugin/dist
COPY --from=build /app/service/package.json service/
COPY --from=build /app/service/dist service/dist
RUN mkdir data && chown node:node data
USER node
ENV NODE_ENV=production
# In a container the service must listen beyond loopback to be reached at all. So it starts only with a key for tokens
# (such as JWT_SECRET), a proxy that authenticates, or OPEN_TO_ALL=yes, which lets everybody publish and subscribe.
ENV HOST=0.0.0.0 PORT=8080 DATA_DIR=/app/data
EXPOSE 8080
VOLUME /app/data
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# With TLS_CERT the check above needs https: configure a different one, or leave TLS to a proxy.
# The service handles SIGTERM itself and starts no child processes except workers: it needs no init.
STOPSIGNAL SIGTERM
CMD ["node", "service/dist/cli.js"]
