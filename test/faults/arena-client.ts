/** What people who vote do to a server, and what they are told. */

export interface Answered {
  readonly status: number;
  readonly retryAfter: string | null;
  readonly text: string;
}

export async function ask(url: string, path: string, body?: object | string): Promise<Answered> {
  const response = await fetch(`${url}${path}`, {
    ...(body === undefined ? {} : { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) }),
    headers: { "content-type": "application/json" },
  });
  return { status: response.status, retryAfter: response.headers.get("retry-after"), text: await response.text() };
}

export interface Frame {
  readonly kind: string;
  readonly id?: string;
  readonly ballot?: string;
  readonly error?: { readonly code: string; readonly message: string };
}

/** A battle to its end. @returns its last frame; of a refusal its error, as a frame of kind `refused`. */
export async function battle(url: string, prompt: string): Promise<Frame> {
  const { status, text } = await ask(url, "/v1/arena/battles", { prompt, max_tokens: 8 });
  if (status !== 200) return { kind: "refused", ...(JSON.parse(text) as object) };
  const frames = text.split("\n\n").filter((frame) => frame.startsWith("data: {"));
  return JSON.parse((frames.at(-1) ?? "").slice("data: ".length)) as Frame;
}

export function vote(url: string, { id, ballot }: Frame, winner: string): Promise<Answered> {
  return ask(url, `/v1/arena/battles/${id}/vote`, { ballot, winner });
}

export interface Stored {
  readonly id: string;
  readonly vote: { readonly winner: string } | null;
}

/** The export, line by line. */
export async function stored(url: string): Promise<readonly Stored[]> {
  const { status, text } = await ask(url, "/v1/arena/battles");
  if (status !== 200) throw new Error(`The export was refused: ${text}`);
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Stored);
}

/** Whether the model still answers, which no fault of a store may keep it from. */
export async function generates(url: string): Promise<boolean> {
  const messages = [{ role: "user", content: "Hello" }];
  return (await ask(url, "/v1/chat/completions", { model: "tiny", messages, max_tokens: 4 })).status === 200;
}
