import { connect } from "node:net";
import { setTimeout as wait } from "node:timers/promises";

/** What one client does to a server for as long as it may. */
export interface Reproduction {
  readonly name: string;
  /** Streams of one caller that run at the same time: then somebody else waits longer than for a single request. */
  readonly streams?: 64;
  /** Begins again and again until `over` aborts. */
  run(attacker: Attacker): Promise<void>;
}

/** The attacker's hands. */
export class Attacker {
  readonly url: string;
  readonly over: AbortSignal;
  readonly #key: string;
  readonly #model: string;
  readonly #onStatus: (status: number) => void;

  /** @param onStatus hears how each request was answered. */
  constructor(
    options: { readonly url: string; readonly key: string; readonly model: string; readonly over: AbortSignal },
    onStatus: (status: number) => void,
  ) {
    this.#onStatus = onStatus;
    this.url = options.url;
    this.over = options.over;
    this.#key = options.key;
    this.#model = options.model;
  }

  /** @param signal hangs up; default: at the end. */
  async send(path: string, body: object | string | Uint8Array<ArrayBuffer>, signal = this.over): Promise<void> {
    try {
      const answer = await fetch(this.url + path, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${this.#key}` },
        body:
          typeof body === "string" || body instanceof Uint8Array
            ? body
            : JSON.stringify({ model: this.#model, ...body }),
        signal,
      });
      this.#onStatus(answer.status);
      await answer.arrayBuffer();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  /** So many at a time, again and again. @param make the body, by its number. */
  async flood(
    path: string,
    atOnce: number,
    make: (number: number) => object | string | Uint8Array<ArrayBuffer>,
  ): Promise<void> {
    let number = 0;
    const sender = async () => {
      while (!this.over.aborted) await this.send(path, make(number++));
    };
    await Promise.all(Array.from({ length: atOnce }, sender));
  }

  /** Opens a connection and sends the beginning of a body of so many bytes. */
  hold(path: string, bytes: number, announced: number): Promise<void> {
    const { hostname, port } = new URL(this.url);
    return new Promise((resolve) => {
      const socket = connect(Number(port), hostname);
      const head = [
        `POST ${path} HTTP/1.1`,
        `host: ${hostname}:${port}`,
        "content-type: application/json",
        `authorization: Bearer ${this.#key}`,
        `content-length: ${announced}`,
      ];
      socket.on("error", () => {});
      socket.once("close", () => resolve());
      socket.resume();
      socket.write(`${head.join("\r\n")}\r\n\r\n`);
      socket.write(blanks.subarray(0, bytes));
      this.over.addEventListener("abort", () => socket.destroy(), { once: true });
    });
  }
}

const megabytes = 4_000_000;
const blanks = Buffer.alloc(megabytes, " ");
/** A body of nearly the most that is taken: `piece` as often as it fits. */
function filled(begin: string, piece: string, end: string, separator = ","): Uint8Array<ArrayBuffer> {
  const count = Math.floor((megabytes - 200) / (piece.length + separator.length));
  return Buffer.from(begin + Array.from({ length: count }, () => piece).join(separator) + end);
}

const model = '"model":"toast-tiny","max_tokens":4';
const long = { prompt: "Once upon a time", max_tokens: 900, temperature: 1, ignore_eos: true, stream: true };
const values = (letter: string) => Array.from({ length: 10_000 }, (_, at) => `${letter}${at}`);
const strings = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, at) => [`s${at}`, { type: "string", maxLength: 200 }]));
const hardPattern = (at: number) => `(${at}|[a-z]{1,200}){1,40}x`;
const randomLetters = (count: number) => {
  let state = 7;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 48_271) >>> 0) % 2_147_483_647;
    return String.fromCharCode(97 + (state % 26));
  }).join("");
};

/** Those of the list of faults that one client brings about by requests alone; the rest has tests of its own here. */
export const reproductions: readonly Reproduction[] = [
  {
    name: "F1: 40 small grammars at once, each another",
    run: (attacker) =>
      attacker.flood("/v1/completions", 40, (at) => ({ prompt: "Say", max_tokens: 8, guided_regex: `[a-c]{3}${at}` })),
  },
  {
    name: "F2: prompts of 4 MB of blanks",
    run(attacker) {
      const body = filled(`{${model},"prompt":"`, " ", '"}', "");
      return attacker.flood("/v1/completions", 4, () => body);
    },
  },
  {
    name: "F2: prompts of 4 MB of random letters",
    run(attacker) {
      const body = Buffer.from(`{${model},"prompt":"${randomLetters(megabytes - 200)}"}`);
      return attacker.flood("/v1/completions", 4, () => body);
    },
  },
  {
    name: "F3: 128 answers of 900 tokens",
    run: (attacker) => attacker.flood("/v1/completions", 1, () => ({ ...long, n: 128 })),
  },
  {
    name: "F3: 64 streams of 900 tokens",
    streams: 64,
    run: (attacker) => attacker.flood("/v1/completions", 64, () => long),
  },
  {
    name: "F3: 20 log probabilities of 8 × 900 tokens, echoed",
    run(attacker) {
      const prompt = Array.from({ length: 8 }, () => Array.from({ length: 900 }, (_, at) => 100 + at));
      return attacker.flood("/v1/completions", 1, () => ({ prompt, echo: true, logprobs: 20, max_tokens: 8 }));
    },
  },
  {
    name: "F4: 64 schemas that are hard, hung up after 2 s",
    async run(attacker) {
      for (let round = 0; !attacker.over.aborted; round++) {
        const hangUp = AbortSignal.any([attacker.over, AbortSignal.timeout(2_000)]);
        const ask = (at: number) =>
          attacker.send(
            "/v1/completions",
            {
              prompt: "Say",
              max_tokens: 8,
              guided_json: {
                type: "string",
                allOf: [{ pattern: hardPattern(64 * round + at) }, { pattern: "^[0-9a-z]*$" }],
              },
            },
            hangUp,
          );
        await Promise.all(Array.from({ length: 64 }, (_, at) => ask(at)));
      }
    },
  },
  {
    name: "F5: schemas of two lists of 10,000 constants",
    run: (attacker) =>
      attacker.flood("/v1/completions", 2, (at) => ({
        prompt: "Say",
        max_tokens: 8,
        guided_json: { title: String(at), oneOf: [{ enum: values("a") }, { enum: values("b") }] },
      })),
  },
  {
    name: "F5: schemas of ten strings of up to 200",
    run: (attacker) =>
      attacker.flood("/v1/completions", 4, (at) => ({
        prompt: "Say",
        max_tokens: 8,
        guided_json: { title: String(at), type: "object", properties: strings(10), required: Object.keys(strings(10)) },
      })),
  },
  {
    name: "F6: a template that loops 2,000,000 times",
    run: (attacker) =>
      attacker.flood("/apply-template", 4, () => ({
        model: "looping",
        messages: [{ role: "user", content: "Hi" }],
      })),
  },
  {
    name: "F11: looks at the leaderboard of 5,000 battles",
    async run(attacker) {
      while (!attacker.over.aborted) {
        const headers = { authorization: "Bearer key-of-the-operator" };
        const look = await fetch(`${attacker.url}/v1/arena/leaderboard`, { headers, signal: attacker.over }).catch(
          () => null,
        );
        await look?.arrayBuffer().catch(() => {});
        await wait(50);
      }
    },
  },
  {
    name: "F13: 300 connections with all of a body but its end",
    async run(attacker) {
      const held = Array.from({ length: 300 }, () => attacker.hold("/v1/completions", 4_000_000, 4_100_000));
      await Promise.all(held);
    },
  },
  {
    name: "bodies of 4 MB of small things: messages that are none",
    run(attacker) {
      const body = filled(`{${model},"messages":[`, "{}", "]}");
      return attacker.flood("/v1/chat/completions", 4, () => body);
    },
  },
  {
    name: "bodies of 4 MB of small things: items that are none",
    run(attacker) {
      const body = filled('{"model":"toast-tiny","input":[', "{}", "]}");
      return attacker.flood("/v1/responses", 4, () => body);
    },
  },
  {
    name: "bodies of 2 MB of token ids",
    run(attacker) {
      const ids = Array.from({ length: 1_000_000 }, () => 7).join(",");
      const body = Buffer.from(`{${model},"prompt":[${ids}]}`);
      return attacker.flood("/v1/completions", 4, () => body);
    },
  },
  {
    name: "prompts of 300,000 token ids",
    run(attacker) {
      const prompt = Array.from({ length: 300_000 }, () => 7);
      const body = Buffer.from(`{${model},"prompt":${JSON.stringify(prompt)}}`);
      return attacker.flood("/v1/completions", 4, () => body);
    },
  },
  {
    name: "conversations of 4,000 messages",
    run(attacker) {
      const messages = Array.from({ length: 4_000 }, (_, at) => ({
        role: at % 2 === 0 ? "user" : "assistant",
        content: "Hi",
      }));
      return attacker.flood("/v1/chat/completions", 4, () => ({ messages, max_tokens: 4 }));
    },
  },
  {
    name: "100,000 blanks that are counted, 8 at a time",
    run(attacker) {
      const prompt = " ".repeat(100_000);
      return attacker.flood("/tokenize", 8, () => ({ prompt }));
    },
  },
  {
    name: "100,000 tokens that are written as text, 8 at a time",
    run(attacker) {
      const tokens = Array.from({ length: 100_000 }, (_, at) => 300 + (at % 3_000));
      return attacker.flood("/detokenize", 8, () => ({ tokens }));
    },
  },
];
