import { send } from "../chat/chat-state.js";
import { settings } from "../sampling.js";
import type { Demonstration } from "./recording.js";

/** The page steers by what was demonstrated, and by nothing else: what is asked next compares with it. */
function steerBy({ kind, name, modelId }: Demonstration, strength: number): void {
  const vectors = kind === "vector" && strength !== 0 ? { [name]: { strength, layers: null } } : {};
  settings.value = {
    ...settings.value,
    model: modelId,
    strength: kind === "adapter" ? strength : settings.value.strength,
    vectors,
  };
}

/** The prompt in the chat, from the seed of the recording. */
export async function askNow(shown: Demonstration, strength: number): Promise<void> {
  steerBy(shown, strength);
  await send(shown.prompt, shown.seed);
}

/** The prompt in the Steering view, already running. */
export async function showTokens(shown: Demonstration, strength: number): Promise<void> {
  steerBy(shown, strength);
  await runBoth(shown.prompt, shown.seed);
}

/** A prompt answered twice, plain and as the page steers now. The view's script comes with it. */
export async function runBoth(asked: string, fromSeed: number): Promise<void> {
  const { given, layers, prompt, run, seed } = await import("../steering/steering-state.js");
  prompt.value = asked;
  seed.value = fromSeed;
  layers.value = null;
  given.value = null;
  location.hash = "#/steering";
  await run();
}
