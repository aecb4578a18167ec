# The service in a container. docs/deploy.md tells how to run it; test/deploy/dockerfile.test.ts runs its steps.

FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY plugin/package.json plugin/
COPY service/package.json service/
RUN npm ci
COPY tsconfig.json ./
COPY plugin plugin
COPY service service
RUN npm run build -w fastify-resumable-sse -w resumable-sse
RUN npm prune --omit=dev

FROM node:20-bookworm-slim
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
# In a container the service must listen beyond loopback to be reached at all. So it starts with a key for tokens (JWT_SECRET
# and its like) or a proxy that authenticates, or when it is told in so many words that anybody may: OPEN_TO_ALL=yes.
ENV HOST=0.0.0.0 PORT=8080 DATA_DIR=/app/data
EXPOSE 8080
VOLUME /app/data
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# With TLS_CERT the check above needs https: give the container one of its own, or leave TLS to a proxy.
# The service handles SIGTERM itself and starts no children but its workers: it needs no init.
STOPSIGNAL SIGTERM
CMD ["node", "service/dist/cli.js"]
