import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";
import type { PulledModel } from "../../src/hub/cached-model.js";
import { parseHubName } from "../../src/hub/hub-name.js";
import { readHubSettings } from "../../src/hub/hub-settings.js";
import { type PullOptions, pullModel } from "../../src/hub/pull-model.js";
import type { RetryPace } from "../../src/hub/retry.js";
import { HubStandIn } from "./hub-stand-in.js";

/** Waits that no test notices. */
export const quick: RetryPace = { firstWaitMs: 5, longestWaitMs: 5000, idleMs: 400 };

const tiny = fileURLToPath(new URL("../tiny/gqa", import.meta.url));

/** A small model as its authors would publish it, with what else lies in repositories. */
export function tinyRepo(): Record<string, Buffer> {
  const names = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"];
  return {
    ...Object.fromEntries(names.map((name) => [name, readFileSync(join(tiny, name))])),
    "README.md": Buffer.from("---\nlicense: apache-2.0\n---\n# A tiny model\n"),
    "pytorch_model.bin": Buffer.from("a pickle"),
    "onnx/model.onnx": Buffer.from("another format"),
    ".gitattributes": Buffer.from("*.safetensors filter=lfs"),
  };
}

export interface Place {
  readonly hub: HubStandIn;
  /** HF_HOME */
  readonly home: string;
  readonly environment: Record<string, string>;
  pull(word: string, options?: Partial<PullOptions>, environment?: Record<string, string>): Promise<PulledModel>;
}

/** A hub and an empty HF_HOME for one test. */
export async function openPlace(): Promise<Place> {
  const hub = await HubStandIn.open();
  const home = await mkdtemp(join(tmpdir(), "toast-hub-"));
  onTestFinished(async () => {
    await hub.close();
    await rm(home, { recursive: true, force: true });
  });
  const environment = { HF_HOME: home, HF_ENDPOINT: hub.endpoint };
  return {
    hub,
    home,
    environment,
    async pull(word, options = {}, more = {}) {
      const settings = await readHubSettings({ ...environment, ...more });
      return pullModel({ name: parseHubName(word), settings, version: "0.0.0", pace: quick, ...options });
    },
  };
}
