/** How one request of a soak ended for its client. */
export type SoakOutcome = { readonly kind: "answered" } | SoakFailure;

/** Neither an answer, nor walked away from. */
export interface SoakFailure {
  /**
   * `refused`: by another status than 200. `brokenOff`: a stream whose last line is an error. `cutShort`: an answer
   * that ends before its end, without a word. `unanswered`: no status came.
   */
  readonly kind: "refused" | "brokenOff" | "cutShort" | "unanswered";
  /** Of the server's errors (`server_overloaded`), or of the client's platform (`ECONNRESET`); null: it has none. */
  readonly code: string | null;
  /** Null: none came. */
  readonly status: number | null;
  /** Seconds after which the client was told to come again; null: it was told nothing. */
  readonly retryAfter: number | null;
  readonly message: string;
}

/** Failures of one kind, code and status; the rest is of the first of them. */
export type SoakErrors = SoakFailure & { readonly count: number };

/** Reads an answer to its end. @throws what reading does */
export async function outcomeOf(response: Response): Promise<SoakOutcome> {
  const { status, headers } = response;
  const text = await response.text();
  if (!response.ok) {
    const seconds = headers.get("retry-after");
    const retryAfter = seconds === null ? null : Number(seconds);
    return { kind: "refused", status, retryAfter, ...saidIn(text) };
  }
  if (headers.get("content-type")?.startsWith("application/json") === true) {
    return text.endsWith("}") ? { kind: "answered" } : cutShort(status);
  }
  const errorLine = text.split("\n").find((line) => line.startsWith('data: {"error"'));
  if (errorLine !== undefined) {
    return { kind: "brokenOff", status, retryAfter: null, ...saidIn(errorLine.slice("data: ".length)) };
  }
  return text.endsWith("data: [DONE]\n\n") ? { kind: "answered" } : cutShort(status);
}

/** @param error what fetching or reading threw. */
export function unanswered(error: unknown): SoakFailure {
  // fetch says that it failed; its cause says why.
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : null;
  const message = cause instanceof Error ? cause.message : String(cause);
  return { kind: "unanswered", code, status: null, retryAfter: null, message };
}

/** The most frequent ones first. */
export function countErrors(failures: readonly SoakFailure[]): readonly SoakErrors[] {
  const counted = new Map<string, { readonly first: SoakFailure; count: number }>();
  for (const first of failures) {
    const alike = `${first.kind} ${first.code} ${first.status}`;
    const known = counted.get(alike) ?? { first, count: 0 };
    counted.set(alike, { ...known, count: known.count + 1 });
  }
  return [...counted.values()].map(({ first, count }) => ({ ...first, count })).toSorted((a, b) => b.count - a.count);
}

/** What stands in an error of the wire; what is none is told as it came. */
function saidIn(text: string): Pick<SoakFailure, "code" | "message"> {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: string | null; message?: string } };
    return { code: error?.code ?? null, message: (error?.message ?? text).slice(0, 200) };
  } catch {
    return { code: null, message: text.slice(0, 200) };
  }
}

function cutShort(status: number): SoakFailure {
  return { kind: "cutShort", code: null, status, retryAfter: null, message: "The answer ended before its end." };
}
