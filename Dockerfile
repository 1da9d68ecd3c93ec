# Build: every dependency, TypeScript to dist/.
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY build.mjs tsconfig.json tsconfig.build.json vite.config.ts ./
COPY src ./src
RUN npm run build

# What runs needs no compiler and no test tools.
FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev

FROM node:24-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8000 HF_HOME=/cache
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json LICENSE ./
COPY migrations ./migrations
COPY models ./models
# Models by name are kept here; a named volume takes over whose it is.
RUN mkdir /cache && chown node:node /cache
USER node
EXPOSE 8000
# 503 while models load: the start period covers that.
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Node itself receives SIGTERM and drains; a shell in between would swallow it.
ENTRYPOINT ["node", "dist/main.js"]
CMD ["serve"]
