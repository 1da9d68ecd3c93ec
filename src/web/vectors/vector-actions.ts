import { chatAddress } from "../chat/chat-address.js";
import { draft } from "../chat/composer-draft.js";
import { download } from "../parts/download.js";
import { settings } from "../sampling.js";
import { access, announcement, heedProblem, modelOf, reloadVectors } from "../session.js";
import { type LayerRange, withStrength } from "../vector-stack.js";
import { call } from "../wire/call.js";
import { problemFrom } from "../wire/problem.js";
import type { VectorEntry } from "../wire/server.js";

const pathOf = ({ root, name }: VectorEntry) => `/v1/vectors/${encodeURIComponent(root)}/${encodeURIComponent(name)}`;

/** @returns why it did not work, as a sentence; null when it did. */
async function attempt(work: () => Promise<string>): Promise<string | null> {
  try {
    const done = await work();
    await reloadVectors();
    announcement.value = done;
    return null;
  } catch (error) {
    const problem = problemFrom(error);
    heedProblem(problem);
    return problem.sentence;
  }
}

/** Also in the chat's stack, so that a dial that is turned up stays so. */
export function rename(vector: VectorEntry, name: string): Promise<string | null> {
  return attempt(async () => {
    await call(access.value, pathOf(vector), { method: "PATCH", body: { name } });
    const { [vector.name]: dial, ...others } = settings.value.vectors;
    if (dial !== undefined) settings.value = { ...settings.value, vectors: { ...others, [name]: dial } };
    return `${vector.name} is called ${name} now.`;
  });
}

export function remove(vector: VectorEntry): Promise<string | null> {
  return attempt(async () => {
    await call(access.value, pathOf(vector), { method: "DELETE" });
    settings.value = { ...settings.value, vectors: withStrength(settings.value.vectors, vector.name, 0) };
    return vector.isOwn ? `${vector.name} is deleted.` : `${vector.name} is out until the server starts again.`;
  });
}

/** Not a plain link: the file may want the key. */
export async function downloadFile(vector: VectorEntry): Promise<string | null> {
  try {
    const response = await call(access.value, `${pathOf(vector)}/download`);
    download(`${vector.name}.gguf`, "application/octet-stream", await response.blob());
    return null;
  } catch (error) {
    return problemFrom(error).sentence;
  }
}

/**
 * Turns a vector up in the chat, and goes there.
 * @param layers null: all that it has.
 */
export function tryInChat(
  vector: VectorEntry,
  strength = usualStrength(vector),
  layers: LayerRange | null = null,
): void {
  const chosen = modelOf(settings.value.model);
  settings.value = {
    ...settings.value,
    // The base alone shows best what the vector does; an adapter that was chosen stays.
    model: chosen?.root === vector.root ? chosen.id : vector.root,
    vectors: { ...withStrength(settings.value.vectors, vector.name, 0), [vector.name]: { strength, layers } },
  };
  if (draft.value.trim() === "" && vector.examplePrompt !== null) draft.value = vector.examplePrompt;
  location.hash = chatAddress();
}

/** As far up as the text is known to hold together, and no further than told to be the one side. */
export function usualStrength({ recommended }: VectorEntry): number {
  if (recommended === null) return 0.5;
  const [low, high] = recommended;
  return high > 0 ? Math.min(1, high) : Math.max(-1, low);
}
