import { fields, number } from "./wire/read.js";

/** One number that shapes an answer; null leaves it to the server. */
interface SamplingField {
  /** Its name on the wire. */
  readonly name: SamplingName;
  readonly label: string;
  readonly hint: string;
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly start: number | null;
  /** What an empty field means where the model recommends nothing. */
  readonly otherwise: string;
}

export type SamplingName =
  | "temperature"
  | "top_p"
  | "top_k"
  | "min_p"
  | "max_tokens"
  | "seed"
  | "presence_penalty"
  | "frequency_penalty"
  | "repetition_penalty";

export const samplingFields: readonly SamplingField[] = [
  {
    name: "temperature",
    label: "Temperature",
    hint: "0 always takes the likeliest token",
    min: 0,
    max: 2,
    step: 0.1,
    start: null,
    otherwise: "1",
  },
  {
    name: "top_p",
    label: "Top p",
    hint: "share of the likelihood kept",
    min: 0,
    max: 1,
    step: 0.05,
    start: null,
    otherwise: "1",
  },
  {
    name: "top_k",
    label: "Top k",
    hint: "likeliest tokens kept; 0 keeps all",
    min: 0,
    max: 1000,
    step: 1,
    start: null,
    otherwise: "0",
  },
  {
    name: "min_p",
    label: "Min p",
    hint: "least share of the likeliest",
    min: 0,
    max: 0.99,
    step: 0.01,
    start: null,
    otherwise: "0",
  },
  {
    name: "max_tokens",
    label: "Max tokens",
    hint: "length of the answer",
    min: 1,
    max: 1_000_000,
    step: 1,
    start: 256,
    otherwise: "no limit",
  },
  {
    name: "seed",
    label: "Seed",
    hint: "same seed, same text; empty draws one",
    min: 0,
    max: 4_294_967_295,
    step: 1,
    start: null,
    otherwise: "random",
  },
  {
    name: "presence_penalty",
    label: "Presence penalty",
    hint: "against any repetition",
    min: -2,
    max: 2,
    step: 0.1,
    start: null,
    otherwise: "0",
  },
  {
    name: "frequency_penalty",
    label: "Frequency penalty",
    hint: "against frequent repetition",
    min: -2,
    max: 2,
    step: 0.1,
    start: null,
    otherwise: "0",
  },
  {
    name: "repetition_penalty",
    label: "Repetition penalty",
    hint: "1 is off; divides repeated logits",
    min: 0.01,
    max: 10,
    step: 0.05,
    start: null,
    otherwise: "1",
  },
];

/** Null: left to the server, which goes by the model's own recommendation. */
export type Sampling = Readonly<Record<SamplingName, number | null>>;

/** @param absent what a field is that was not stored. */
export function readSampling(stored: unknown, absent: (name: SamplingName) => number | null): Sampling {
  const kept = fields(stored);
  const values = samplingFields.map(({ name }) => [name, name in kept ? number(kept[name]) : absent(name)] as const);
  return Object.fromEntries(values) as Sampling;
}

/** @returns the fields of a request body, those left to the server omitted. */
export function samplingBody(sampling: Sampling, seed: number): object {
  const given = Object.entries(sampling).filter(([, value]) => value !== null);
  return { ...Object.fromEntries(given), seed };
}

/** Drawn by the page and not by the server, so that every answer can be asked for again. */
export function drawSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
