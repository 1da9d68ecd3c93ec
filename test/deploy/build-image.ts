import { execFileSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import dockerignore from "@balena/dockerignore";
import { packageFolder } from "../../src/package.js";

/** A stage of a Dockerfile, built into a folder that stands for its root. */
export interface Stage {
  readonly root: string;
  readonly workdir: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly user: string;
  readonly entrypoint: readonly string[];
  readonly command: readonly string[];
  readonly healthcheck: readonly string[];
}

interface Instruction {
  readonly word: string;
  readonly rest: string;
}

/**
 * Builds the Dockerfile's stages without Docker: each has a clean folder for its root, gets what its COPY lines name
 * out of what .dockerignore lets through, and has its RUN lines run there. Two things are not as in a container: `npm
 * ci` takes the packages of the stage's lock file that are installed here, and nobody is made owner of anything.
 * @param scratch an empty folder.
 * @returns the last stage.
 */
export function buildImage(scratch: string): Stage {
  const stages = new Map<string, Stage>();
  let last: Stage | null = null;
  for (const instructions of stagesOf(readFileSync(join(packageFolder, "Dockerfile"), "utf8"))) {
    const name = / AS (\w+)$/.exec(instructions[0]?.rest ?? "")?.[1] ?? "last";
    last = buildStage(instructions, join(scratch, name), stages);
    stages.set(name, last);
  }
  if (last === null) throw new Error("the Dockerfile has no stage");
  return last;
}

/** A path within a stage. */
export function within({ root, workdir }: Pick<Stage, "root" | "workdir">, path: string): string {
  return isAbsolute(path) ? join(root, path) : join(root, workdir, path);
}

function stagesOf(dockerfile: string): Instruction[][] {
  const lines = dockerfile
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"));
  const stages: Instruction[][] = [];
  for (const line of lines) {
    const [word = ""] = line.split(" ", 1);
    const instruction = { word, rest: line.slice(word.length).trim() };
    if (word === "FROM") stages.push([instruction]);
    else stages.at(-1)?.push(instruction);
  }
  return stages;
}

function buildStage(instructions: readonly Instruction[], root: string, others: ReadonlyMap<string, Stage>): Stage {
  mkdirSync(root);
  const stage = {
    root,
    workdir: "/",
    environment: {} as Record<string, string>,
    user: "root",
    entrypoint: [] as string[],
    command: [] as string[],
    healthcheck: [] as string[],
  };
  for (const { word, rest } of instructions) {
    switch (word) {
      case "FROM":
      case "EXPOSE":
        break;
      case "WORKDIR":
        stage.workdir = rest;
        mkdirSync(within(stage, "."), { recursive: true });
        break;
      case "ENV":
        for (const pair of rest.split(/\s+/)) {
          const [name = "", value = ""] = pair.split("=");
          stage.environment[name] = value.startsWith("/") ? within(stage, value) : value;
        }
        break;
      case "USER":
        stage.user = rest;
        break;
      case "COPY":
        copy(rest, stage, others);
        break;
      case "RUN":
        run(rest, stage);
        break;
      case "ENTRYPOINT":
        stage.entrypoint = JSON.parse(rest) as string[];
        break;
      case "CMD":
        stage.command = JSON.parse(rest) as string[];
        break;
      case "HEALTHCHECK":
        stage.healthcheck = JSON.parse(rest.slice(rest.indexOf("["))) as string[];
        break;
      default:
        throw new Error(`the test knows no ${word}`);
    }
  }
  return stage;
}

function copy(rest: string, stage: Stage, others: ReadonlyMap<string, Stage>): void {
  const words = rest.split(/\s+/);
  const from = /^--from=(\w+)$/.exec(words[0] ?? "")?.[1];
  const sources = words.slice(from === undefined ? 0 : 1, -1);
  const target = words.at(-1) ?? "";
  for (const source of sources) {
    const to = target.endsWith("/") ? join(target, source.split("/").at(-1) ?? "") : target;
    if (from === undefined) {
      for (const file of contextFiles(source)) {
        const place = join(within(stage, to), file.slice(source.length));
        mkdirSync(dirname(place), { recursive: true });
        cpSync(join(packageFolder, file), place);
      }
      continue;
    }
    const other = others.get(from);
    if (other === undefined) throw new Error(`there is no stage ${from} above`);
    link(within(other, source), within(stage, to));
  }
}

/** Copies a tree, by links where both ends lie on one file system. */
function link(from: string, to: string): void {
  try {
    execFileSync("cp", ["-al", from, to], { stdio: "pipe" });
  } catch {
    execFileSync("cp", ["-a", from, to]);
  }
}

const ignored = dockerignore.default().add(readFileSync(join(packageFolder, ".dockerignore"), "utf8"));

/** @returns files, from the package's folder, that .dockerignore lets through. */
function contextFiles(source: string): readonly string[] {
  const path = join(packageFolder, source);
  if (!existsSync(path)) return [];
  if (statSync(path).isDirectory()) return readdirSync(path).flatMap((name) => contextFiles(`${source}/${name}`));
  return ignored.ignores(source) ? [] : [source];
}

function run(command: string, stage: Stage): void {
  if (command === "npm ci") {
    installFromHere(stage);
    return;
  }
  // Whose a folder is, is for containers; absolute paths lie in the stage.
  const here = command.replace(/ && chown .*/, "").replace(/(?<= )\/(?=\w)/g, `${stage.root}/`);
  const cwd = within(stage, ".");
  execFileSync("sh", ["-c", here], { cwd, env: { ...process.env, ...stage.environment }, stdio: "pipe" });
}

/** Links the packages that the stage's lock file names and that are installed here. */
function installFromHere(stage: Stage): void {
  const source = join(packageFolder, "node_modules");
  const target = within(stage, "node_modules");
  const lock = JSON.parse(readFileSync(within(stage, "package-lock.json"), "utf8")) as { packages: object };
  mkdirSync(target);
  for (const path of Object.keys(lock.packages)) {
    // Packages within packages come along.
    const name = /^node_modules\/((?:@[^/]+\/)?[^/]+)$/.exec(path)?.[1];
    if (name === undefined || !existsSync(join(source, name))) continue;
    mkdirSync(dirname(join(target, name)), { recursive: true });
    link(join(source, name), join(target, name));
  }
}
