import { type Context, Hono } from "hono";
import type { ArenaBoard } from "../arena/arena.js";
import { type BattleRecord, recordFromWire, toWire } from "../arena/battle-record.js";
import type { Contestant } from "../arena/contestants/contestant.js";
import { withSteering } from "../arena/contestants/served-contestant.js";
import { ToastError } from "../errors.js";
import { toHttpError } from "../openai/error-envelope.js";
import { dataFrame, doneFrame } from "../openai/server-sent-events.js";
import { battleFrames, comparisonFrames, type Frames } from "./arena-frames.js";
import { ClientLimiter, tooMany } from "./arena-limiter.js";
import { parseBattleRequest, parseCompareRequest, parseFilter, parseVoteRequest } from "./arena-requests.js";
import type { ArenaSettings } from "./arena-settings.js";
import { eventStreamResponse } from "./event-stream-response.js";
import { readJsonBody, readTextBody } from "./read-json-body.js";
import type { RequestEnvironment } from "./request-environment.js";
import type { ServerDeps } from "./server-deps.js";

/** Of an import: ten thousand battles or so. */
const maxImportBytes = 64 * 2 ** 20;

/** The routes of docs/arena.md. */
export function arenaRoutes(
  deps: ServerDeps,
  { arena, pace, battlesPerMinute }: ArenaSettings,
): Hono<RequestEnvironment> {
  const app = new Hono<RequestEnvironment>();
  const { maxBodyBytes } = deps.limits;
  const battles = { limiter: new ClientLimiter(battlesPerMinute), perMinute: battlesPerMinute, deed: "battles" };
  const votes = { limiter: new ClientLimiter(2 * battlesPerMinute), perMinute: 2 * battlesPerMinute, deed: "votes" };
  const limit = (context: Context<RequestEnvironment>, { limiter, perMinute, deed }: typeof battles) => {
    const wait = limiter.take(context.get("caller").id, performance.now());
    if (wait === 0) return;
    context.header("retry-after", String(wait));
    throw tooMany(deed, perMinute, wait);
  };

  app.get("/v1/contestants", (context) =>
    context.json({ object: "list", data: arena.roster.contestants.map(contestantOf) }),
  );
  app.post("/v1/compare", async (context) => {
    const request = parseCompareRequest(await readJsonBody(context.req.raw, maxBodyBytes));
    refuseWhileLoading(deps);
    const [left, right] = request.contestants.map(({ contestant, steering }) =>
      withSteering(arena.roster.find(contestant), steering),
    ) as [Contestant, Contestant];
    return stream(context, deps, (signal, onError) => comparisonFrames({ left, right }, request, signal, onError));
  });
  app.post("/v1/arena/battles", async (context) => {
    limit(context, battles);
    const request = parseBattleRequest(await readJsonBody(context.req.raw, maxBodyBytes));
    refuseWhileLoading(deps);
    const contestants = arena.draw(request.contestants);
    return stream(context, deps, (signal, onError) => battleFrames(arena, contestants, request, pace, signal, onError));
  });
  app.post("/v1/arena/battles/:id/vote", async (context) => {
    limit(context, votes);
    const { ballot, winner } = parseVoteRequest(await readJsonBody(context.req.raw, maxBodyBytes));
    return context.json(toWire(await arena.vote(context.req.param("id"), ballot, winner)));
  });
  app.get("/v1/arena/leaderboard", async (context) => {
    const filter = parseFilter(context.req.query());
    return context.json(boardOf(await arena.leaderboard(filter), filter.category ?? null));
  });
  app.get("/v1/arena/battles", async (context) => {
    const records = await arena.records(parseFilter(context.req.query()));
    return ndjson(records);
  });
  app.post("/v1/arena/import", async (context) => {
    const text = await readTextBody(context.req.raw, maxImportBytes);
    return context.json(await arena.import(recordsOf(text)));
  });
  return app;
}

/** Opens a stream of frames; its client's leaving, or the server's shutdown, ends it. */
function stream(
  context: Context<RequestEnvironment>,
  deps: ServerDeps,
  framesOf: (signal: AbortSignal, onError: (error: unknown) => void) => Frames,
): Response {
  const running = deps.running.begin(context.req.raw.signal);
  const logError = (error: unknown) => {
    const { status } = toHttpError(error);
    if (status >= 500 && !running.signal.aborted) deps.logError(context.get("requestId"), error);
  };
  const frames = encoded(framesOf(running.signal, logError), logError);
  return eventStreamResponse(frames, {
    keepAliveMs: deps.limits.keepAliveMs,
    onClose: (how) => {
      if (how === "abandoned") {
        running.abort();
        // Nobody hears how it ends: the request's reader has gone.
        frames.return().catch(() => {});
      }
      running.end();
    },
  });
}

async function* encoded(frames: Frames, logError: (error: unknown) => void): AsyncGenerator<string, void, undefined> {
  try {
    for await (const frame of frames) yield dataFrame(frame);
  } catch (error) {
    logError(error);
    yield dataFrame(toHttpError(error).envelope);
  }
  yield doneFrame;
}

/** @throws ToastError `server_loading`: a random pair of half of the models would be a strange one. */
function refuseWhileLoading({ registry: { phase } }: ServerDeps): void {
  if (phase.kind === "loading") {
    throw new ToastError("server_loading", `The server is loading (${phase.stage}). Try again soon.`);
  }
}

/** Neither address nor key of a remote one. */
function contestantOf({ id, label, kind, model, steering, template, arena }: Contestant) {
  return { id, label, kind, model, steering, template, arena };
}

function boardOf({ leaderboard, categories }: ArenaBoard, category: string | null) {
  const { standings, pairings, ...rest } = leaderboard;
  return toWire({ object: "leaderboard", category, categories, ...rest, contestants: standings, pairs: pairings });
}

function ndjson(records: AsyncIterable<BattleRecord>): Response {
  const encoder = new TextEncoder();
  const source = records[Symbol.asyncIterator]();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const next = await source.next();
        if (next.done === true) controller.close();
        else controller.enqueue(encoder.encode(`${JSON.stringify(toWire(next.value))}\n`));
      },
      async cancel() {
        await source.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(body, {
    headers: {
      "content-type": "application/x-ndjson; charset=utf-8",
      "content-disposition": 'attachment; filename="battles.jsonl"',
    },
  });
}

/** @throws ToastError `invalid_json`, `invalid_request`, naming the line at fault; then nothing is imported. */
function recordsOf(text: string): readonly BattleRecord[] {
  return text.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch (cause) {
      throw new ToastError("invalid_json", `Line ${index + 1} is not valid JSON.`, { cause });
    }
    return [recordFromWire(value, `Line ${index + 1}`)];
  });
}
