import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { Command } from "commander";
import { ToastError } from "../errors.js";
import { readKeyFile, writeKeyFile } from "../server/edge/key-file.js";
import { hashKey, newKey } from "../server/edge/key-ring.js";
import type { Terminal } from "./terminal.js";

interface KeysFlags {
  readonly file: string;
  readonly admin?: true;
}

const fileOption = ["--file <file>", "the file of keys (KEYS_FILE)"] as const;

/** `keys create | list | revoke`: works on a file; a server that serves by it follows within a second. */
export function keysCommand(terminal: Terminal): Command {
  const { KEYS_FILE } = terminal.environment;
  const withFile = (command: Command) =>
    KEYS_FILE === undefined || KEYS_FILE === ""
      ? command.requiredOption(...fileOption)
      : command.option(...fileOption, KEYS_FILE);
  const create = withFile(new Command("create"))
    .description("make a key and print it, this once: the file has only its hash")
    .argument("<name>", "whose key it is; logs have this name")
    .option("--admin", "a key that may also change what is served")
    .action((name: string, flags: KeysFlags) => createKey(name, flags, terminal));
  const list = withFile(new Command("list"))
    .description("names, roles and ages of the keys")
    .action((flags: KeysFlags) => listKeys(flags, terminal));
  const revoke = withFile(new Command("revoke"))
    .description("take a key out; a running server refuses it within a second")
    .argument("<name>")
    .action((name: string, flags: KeysFlags) => revokeKey(name, flags, terminal));
  return new Command("keys")
    .description("make, list and revoke the API keys that 'serve --keys-file' goes by")
    .addCommand(create)
    .addCommand(list)
    .addCommand(revoke)
    .addHelpText("after", examples);
}

const examples = `
Examples:
  $ toast-serve keys create alice --file keys.json
      prints a key for alice; what it prints is all there is to keep
  $ toast-serve keys create root --admin --file keys.json
  $ toast-serve serve --keys-file keys.json
  $ toast-serve keys revoke alice --file keys.json`;

async function createKey(name: string, { file, admin }: KeysFlags, terminal: Terminal): Promise<void> {
  if (!/^[\w.@-]{1,64}$/.test(name)) {
    throw new ToastError("invalid_option", `A key's name has up to 64 letters, digits and . _ @ -; '${name}' is none.`);
  }
  const path = resolve(file);
  const keys = existsSync(path) ? await readKeyFile(path) : [];
  if (keys.some((key) => key.name === name)) {
    throw new ToastError(
      "invalid_option",
      `${path} has a key named '${name}'. Choose another name, or revoke that one.`,
    );
  }
  const key = newKey();
  const role = admin === true ? "admin" : "user";
  await writeKeyFile(path, [...keys, { name, role, sha256: hashKey(key), created: new Date().toISOString() }]);
  terminal.err(`A new ${role} key for ${name}. It is not kept anywhere: store it now.`);
  terminal.out(key);
}

async function listKeys({ file }: KeysFlags, terminal: Terminal): Promise<void> {
  for (const { name, role, created } of await readKeyFile(resolve(file))) {
    terminal.out(`${name}\t${role}\t${created}`);
  }
}

async function revokeKey(name: string, { file }: KeysFlags, terminal: Terminal): Promise<void> {
  const path = resolve(file);
  const keys = await readKeyFile(path);
  const left = keys.filter((key) => key.name !== name);
  if (left.length === keys.length) {
    throw new ToastError("invalid_option", `${path} has no key named '${name}'.`);
  }
  await writeKeyFile(path, left);
  terminal.err(`The key of ${name} is revoked.`);
}
