import { copyFile, mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { readModelFolder } from "../../src/model/model-folder.js";
import { runCommand } from "../support/run-command.js";

const guide = fileURLToPath(new URL("../../docs/training.md", import.meta.url));
const tiny = fileURLToPath(new URL("../tiny/unit-rms", import.meta.url));

// What comes before, in Python, is tried by test/scripts/test_training_guide.py.
it("docs/training.md converts what it has trained by the command that stands there", async () => {
  const [, command] = /^npx toast-serve (convert .*)$/m.exec(await readFile(guide, "utf8")) ?? [];
  const here = await mkdtemp(join(tmpdir(), "toast-guide-"));
  try {
    await mkdir(join(here, "runs", "tuned"), { recursive: true });
    for (const file of ["adapter.safetensors", "adapter.json"]) {
      await copyFile(join(tiny, file), join(here, "runs", "tuned", file));
    }
    const out = join(here, "models", "mine");
    const given = { $MODEL: tiny, $RUNS: join(here, "runs"), "models/mine": out };
    const words = Object.entries(given).reduce((text, [name, value]) => text.replace(name, value), command ?? "");
    expect(await runCommand(words.split(" "))).toMatchObject({ code: 0 });
    const { manifest, adapters } = await readModelFolder(out);
    expect([manifest.id, ...adapters.map(({ manifest }) => manifest.name)]).toEqual(["mine", "alpaca"]);
  } finally {
    await rm(here, { recursive: true });
  }
});
