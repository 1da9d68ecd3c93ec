import type { VectorEntry } from "../wire/server.js";

type Figures = Pick<VectorEntry, "separation" | "layerSeparations" | "recommended">;

/** Below this in every layer, a vector points nowhere in particular (docs/vectors.md). */
const weakSeparation = 0.8;

/** What is to be said against a vector, in sentences; empty where it does what vectors can. */
export function weaknesses(
  { separation, layerSeparations, recommended }: Figures,
  wasTried: boolean,
): readonly string[] {
  const best = layerSeparations.length === 0 ? separation : Math.max(...layerSeparations);
  const sentences: string[] = [];
  if (best !== null && best < weakSeparation) {
    sentences.push(
      `It is weak: even in the best layer it tells the two sides apart only ${words(best)} of the time, and guessing gets half. Describe opposites, in stronger words.`,
    );
  }
  if (wasTried && recommended === null) {
    sentences.push(
      "No strength that was tried left the text whole: half a step already brought repetition, or words that do not belong. Try sides that differ in tone and in nothing else.",
    );
  } else if (recommended !== null && (recommended[0] === 0 || recommended[1] === 0)) {
    const side = recommended[0] === 0 ? "less" : "more";
    sentences.push(`It works one way only: towards the “${side}” side the text comes apart at once.`);
  }
  return sentences;
}

/** What a separation means: 0.82 → "82 in 100". */
function words(separation: number): string {
  return `${Math.round(separation * 100)} in 100`;
}
