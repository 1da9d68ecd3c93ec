# Build: every dependency, TypeScript to dist/.
FROM node:24-slim AS build
WORKDIR /toast-serve
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY build.mjs tsconfig.json tsconfig.build.json vite.config.ts ./
COPY src ./src
RUN npm run build

# What runs needs no compiler and no test tools, and of onnxruntime's libraries those of this platform. The lock file is
# cut to what runs first: packages that are a tool's and, optionally, a peer's would come along with --omit=dev, and the
# bill of materials would lack those that tools need too. It takes its name from the folder.
FROM node:24-slim AS dependencies
WORKDIR /toast-serve
COPY package.json package-lock.json .npmrc ./
RUN npm pkg delete devDependencies && npm install --package-lock-only --offline
RUN npm ci
RUN find node_modules/onnxruntime-node/bin -mindepth 3 -maxdepth 3 -not -path "*/linux/$(node -p process.arch)" -exec rm -r {} +
RUN npm sbom --sbom-format cyclonedx --sbom-type application --package-lock-only > sbom.cdx.json

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8000 HF_HOME=/cache DATA_DIR=/data
WORKDIR /app
COPY --from=dependencies /toast-serve/node_modules ./node_modules
COPY --from=dependencies /toast-serve/sbom.cdx.json ./
COPY --from=build /toast-serve/dist ./dist
COPY package.json LICENSE ./
COPY migrations ./migrations
COPY models ./models
# All that is ever written: models by name, and what the arena and the vectors keep. A named volume takes over whose
# they are; the rest may be read-only, with a tmpfs at /tmp where adapters are sent in.
RUN mkdir /cache /data && chown node:node /cache /data
USER node
EXPOSE 8000
# 503 while models load: the start period covers that.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node itself receives SIGTERM and drains; a shell in between would swallow it.
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve"]
