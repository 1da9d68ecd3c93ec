import { field, text } from "./read.js";

/** Why a request or an answer failed, as a person reads it. */
export interface Problem {
  readonly kind: /** The server wants an API key, or another one. */
    | "key"
    /** No answer at all: the server is down, or the network is. */
    | "unreachable"
    /** The answer began and broke off. */
    | "broken"
    /** The server refused, with a sentence of its own. */
    | "refused";
  readonly sentence: string;
  /** The server's word for it; absent where it gave none. */
  readonly code?: string;
}

/** Thrown by the calls of this folder; whoever calls shows the sentence. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.sentence);
    this.problem = problem;
  }
}

export const unreachable: Problem = {
  kind: "unreachable",
  sentence: "The server cannot be reached. It may have stopped, or the network is down.",
};

export const brokenOff: Problem = {
  kind: "broken",
  sentence: "The connection to the server broke in the middle of this answer.",
};

/** @returns the sentence of an error envelope (`{"error": {"message": …}}`), null for anything else. */
export function envelopeSentence(body: unknown): string | null {
  if (typeof body !== "object" || body === null || !("error" in body)) return null;
  const { error } = body;
  if (typeof error === "string") return error;
  if (typeof error !== "object" || error === null || !("message" in error)) return null;
  return typeof error.message === "string" ? error.message : null;
}

/** @returns the code of an error envelope as a problem's field; nothing where there is none. */
export function codeOf(body: unknown): Pick<Problem, "code"> {
  const code = text(field(body, "error", "code"));
  return code === null ? {} : { code };
}

/**
 * @param status of an answer that is no success.
 * @param body its parsed JSON, null when it was none.
 */
export function problemOf(status: number, body: unknown): Problem {
  const sentence = envelopeSentence(body);
  // Not 403: another key may help there or not, and the sentence knows.
  if (status === 401) {
    return { kind: "key", sentence: sentence ?? "The server wants an API key." };
  }
  return {
    kind: "refused",
    sentence: sentence ?? `The server answered with status ${status} and no explanation.`,
    ...codeOf(body),
  };
}

/** @returns what to show for whatever was thrown. */
export function problemFrom(error: unknown): Problem {
  if (error instanceof ProblemError) return error.problem;
  return { kind: "refused", sentence: error instanceof Error ? error.message : String(error) };
}
