/** The house's import directions: main → cli → app → server → { openai, anthropic and ollama → openai, adapters, vectors } → engine → { sampling, grammar, text, steering → model }.
 *  Each room lists the rooms that it may import; anything else is an error. What is in `shared` is open to all. */
const shared = [
  "errors",
  "at",
  "json-tree",
  "disk-full",
  "write-whole-file",
  "linked-abort",
  "event-queue",
  "remote-response",
];

const rooms = {
  main: ["cli"],
  package: [],
  cli: [
    "package",
    "grammar",
    "app",
    "arena",
    "leaderboard",
    "settings",
    "convert",
    "hub",
    "server",
    "engine",
    "model",
    "openai",
    "text",
    "vectors",
  ],
  app: ["settings", "server", "adapters", "vectors", "arena", "openai", "engine", "convert", "model"],
  settings: ["package", "hub", "engine"],
  server: ["package", "openai", "anthropic", "ollama", "adapters", "vectors", "arena", "engine", "settings", "model"],
  adapters: ["engine", "convert", "model"],
  vectors: ["adapters", "engine", "convert", "steering", "model", "text"],
  arena: ["text", "leaderboard"],
  leaderboard: [],
  anthropic: ["openai", "engine", "text"],
  ollama: ["openai", "engine", "text"],
  openai: ["engine", "steering", "text"],
  engine: ["sampling", "grammar", "text", "model", "steering"],
  sampling: [],
  grammar: ["sampling"],
  text: [],
  steering: ["model"],
  model: [],
  convert: ["model", "text"],
  hub: ["convert", "model"],
  web: ["leaderboard"],
  ...Object.fromEntries(shared.map((file) => [file, []])),
};

const pathOf = (room) =>
  ["main", "app", "package", ...shared].includes(room) ? `^src/${room}\\.ts$` : `^src/${room}/`;

/** One door per vendor: the only source files that may import these packages. */
const doors = {
  "onnxruntime-node": "^src/model/(onnx-session|exact-products)\\.ts$",
  "@huggingface/tokenizers": "^src/text/encoding/vendor\\.ts$",
  "@huggingface/jinja": "^src/text/jinja/jinja-template\\.ts$",
  "@huggingface/hub": "^src/hub/hub-api\\.ts$",
  undici: "^src/hub/hub-connection\\.ts$",
  "@eslint-community/regexpp": "^src/grammar/regex/regex-syntax\\.ts$",
  protobufjs: "^src/model/onnx-proto\\.ts$",
  "@hono/node-server": "^src/server/",
  hono: "^src/server/",
  "@fastify/busboy": "^src/server/upload-form\\.ts$",
  commander: "^src/cli/",
  "eventsource-parser":
    "^src/(cli/bench/completion-stream|cli/chat/chat-server|cli/vector/vector-server|arena/contestants/contestant|web/wire/call)\\.ts$",
  preact: "^src/(web|leaderboard)/",
  "preact-render-to-string": "^src/arena/report/report-html\\.tsx$",
  marked: "^src/web/parts/(markdown\\.tsx|markdown/(render-block|formula-tokens)\\.ts)$",
  dompurify: "^src/web/parts/markdown/render-block\\.ts$",
  "highlight\\.js": "^src/web/parts/markdown/highlight\\.ts$",
  temml: "^src/web/parts/markdown/typeset\\.ts$",
  pino: "^src/server/edge/request-log\\.ts$",
  "prom-client": "^src/server/edge/metrics\\.ts$",
  "@opentelemetry": "^src/server/edge/tracing\\.ts$",
  "jsonc-parser": "^src/(json-tree|cli/read-config-file)\\.ts$",
  yaml: "^src/cli/read-config-file\\.ts$",
  libsql: "^src/arena/store/sqlite-store\\.ts$",
  "xz-decompress": "^src/arena/batch/recorded-answers\\.ts$",
  pg: "^src/(arena/store/postgres-store|server/edge/shared-rate-limiter)\\.ts$",
  "rate-limiter-flexible": "^src/server/edge/shared-rate-limiter\\.ts$",
  "drizzle-orm": "^src/arena/store/",
};

module.exports = {
  forbidden: [
    ...Object.entries(rooms).map(([room, allowed]) => ({
      name: `imports-of-${room}`,
      severity: "error",
      from: { path: pathOf(room) },
      to: {
        path: "^src/",
        pathNot: [pathOf(room), ...[...shared, ...allowed].map(pathOf)],
      },
    })),
    ...Object.entries(doors).map(([vendor, door]) => ({
      name: `one-door-for-${vendor.replace(/[^a-z]+/g, "-")}`,
      severity: "error",
      from: { path: "^src/", pathNot: door },
      to: { path: `node_modules/${vendor}/` },
    })),
    { name: "no-circular", severity: "error", from: { path: "^src/" }, to: { circular: true } },
    { name: "src-knows-no-tests", severity: "error", from: { path: "^src/" }, to: { path: "^test/" } },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node", "default", "types"] },
  },
};
