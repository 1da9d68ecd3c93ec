import type { ShapeName } from "../../convert/model-shapes.js";
import { ToastError } from "../../errors.js";
import type { Quantization } from "../../model/manifest.js";
import { apiKeyOf, baseUrlOf } from "../server-client.js";

/** What is measured: a converted folder, random weights of a shape, or a server of whatever make. */
export type BenchSubject =
  /** Null: the first of this package's models/. */
  | { readonly kind: "folder"; readonly folder: string | null }
  /** @see makeRandomModel; `keep` is where the folder stays, null for one that goes at the end. */
  | {
      readonly kind: "shape";
      readonly shape: ShapeName;
      readonly quantize: Quantization;
      readonly keep: string | null;
    }
  | {
      readonly kind: "server";
      readonly baseUrl: string;
      readonly model: string;
      readonly apiKey: string | null;
      readonly ignoreEos: boolean;
    };

export interface SubjectFlags {
  readonly shape?: ShapeName;
  readonly quantize: Quantization;
  readonly keep?: string;
  readonly url?: string;
  readonly modelId?: string;
  readonly apiKey?: string;
  readonly ignoreEos?: true;
}

/** Which subjects an option says something about; those that are not here mean the same for all. */
const scopes: Readonly<Record<string, readonly BenchSubject["kind"][]>> = {
  quantize: ["shape"],
  keep: ["shape"],
  modelId: ["server"],
  apiKey: ["server"],
  ignoreEos: ["server"],
  requests: ["server", "folder"],
  prompts: ["server", "folder"],
  only: ["folder", "shape"],
  prefill: ["folder", "shape"],
  contexts: ["folder", "shape"],
  seconds: ["folder", "shape"],
  minutes: ["folder", "shape"],
  clients: ["folder", "shape"],
  threads: ["folder", "shape"],
  peer: ["folder", "shape"],
  peerModel: ["folder", "shape"],
};

const namesOf: Readonly<Record<BenchSubject["kind"], string>> = {
  folder: "a model folder",
  shape: "--shape",
  server: "--url",
};

/**
 * @param given the options that stand on the command line, by their names in the flags.
 * @throws ToastError `invalid_option` for two subjects at once, for an option that says nothing about this one, for an
 *   address that is none, and for --url without --model-id.
 */
export function subjectOf(
  folder: string | undefined,
  flags: SubjectFlags,
  given: readonly string[],
  environment: NodeJS.ProcessEnv,
): BenchSubject {
  const subject = namedSubject(folder, flags, environment);
  const stray = given.find((name) => scopes[name]?.includes(subject.kind) === false);
  if (stray !== undefined) {
    const places = (scopes[stray] ?? []).map((kind) => namesOf[kind]).join(" or ");
    throw invalid(`${flagOf(stray)} says nothing about ${namesOf[subject.kind]}; it goes with ${places}.`);
  }
  return subject;
}

function namedSubject(
  folder: string | undefined,
  { shape, quantize, keep, url, modelId, apiKey, ignoreEos }: SubjectFlags,
  environment: NodeJS.ProcessEnv,
): BenchSubject {
  if ([folder, shape, url].filter((one) => one !== undefined).length > 1) {
    throw invalid("A model folder, --shape and --url name three different things to measure: give one of them.");
  }
  if (shape !== undefined) return { kind: "shape", shape, quantize, keep: keep ?? null };
  if (url === undefined) return { kind: "folder", folder: folder ?? null };
  if (modelId === undefined) throw invalid("--url needs --model-id: the model to ask for, as GET /v1/models names it.");
  return {
    kind: "server",
    baseUrl: baseUrlOf(url),
    model: modelId,
    apiKey: apiKeyOf(apiKey, environment),
    ignoreEos: ignoreEos === true,
  };
}

function flagOf(name: string): string {
  return `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function invalid(message: string): ToastError {
  return new ToastError("invalid_option", message);
}
