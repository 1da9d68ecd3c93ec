// Builds dist/: the server by tsc, the files of /docs, the page by Vite. With --if-changed only where sources are not those of the last build.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
/** The digest of the sources that dist/ was made of; written last, so half a build counts as none. */
const stamp = join(dist, ".sources");
const sources = ["src", "build.mjs", "package-lock.json", "tsconfig.json", "tsconfig.build.json", "vite.config.ts"];
const { resolve } = createRequire(import.meta.url);

const digest = digestOfSources();
const isCurrent = existsSync(stamp) && readFileSync(stamp, "utf8") === digest;
if (!(process.argv.includes("--if-changed") && isCurrent)) {
  const begun = performance.now();
  console.error("Building the server …");
  rmSync(dist, { recursive: true, force: true });
  buildServer();
  copyApiDocs();
  console.error("Building the page …");
  await buildPage();
  writeFileSync(stamp, digest);
  console.error(`Built in ${Math.round((performance.now() - begun) / 1000)} s.`);
}

function digestOfSources() {
  const hash = createHash("sha256");
  for (const file of sources.flatMap(filesOf).sort()) {
    hash
      .update(`${relative(root, file)}\0`)
      .update(readFileSync(file))
      .update("\0");
  }
  return hash.digest("hex");
}

/** The file itself, or all files of the folder. */
function filesOf(name) {
  const path = join(root, name);
  if (statSync(path).isFile()) return [path];
  const entries = readdirSync(path, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function buildServer() {
  const compiler = join(dirname(resolve("typescript/package.json")), "bin", "tsc");
  const { status } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
  chmodSync(join(dist, "main.js"), 0o755);
  // Reports have the page's colours and the leaderboard's styles in them.
  for (const file of ["colours.css", "leaderboard.css"]) {
    cpSync(join(root, "src", "leaderboard", file), join(dist, "leaderboard", file));
  }
  cpSync(join(root, "src", "arena", "report", "voting.js"), join(dist, "arena", "report", "voting.js"));
}

/** Swagger UI with its licence; src/server/page serves it at /docs. */
function copyApiDocs() {
  const from = dirname(resolve("swagger-ui-dist/package.json"));
  const files = ["LICENSE", "NOTICE", "swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-bundle.js.LICENSE.txt"];
  for (const file of files) cpSync(join(from, file), join(dist, "docs", file));
}

async function buildPage() {
  const { build } = await import("vite");
  await build({ root: join(root, "src", "web"), configFile: join(root, "vite.config.ts"), logLevel: "warn" });
}
