import { setImmediate } from "node:timers/promises";
import type { Context } from "hono";
import type { z } from "zod";
import { itemsOf } from "../../arena/batch/json-lines.js";
import { recordsFrom } from "../../arena/batch/verdict-records.js";
import { type BattleRecord, toWire } from "../../arena/battle-record.js";
import type { ArenaBoard } from "../../arena/boards.js";
import type { Contestant } from "../../arena/contestants/contestant.js";
import { ToastError } from "../../errors.js";
import { toHttpError } from "../../openai/error-envelope.js";
import { dataFrame, doneFrame } from "../../openai/server-sent-events.js";
import { eventStreamResponse } from "../generate/event-stream-response.js";
import { readTextBody } from "../read-json-body.js";
import type { RequestEnvironment } from "../request-environment.js";
import { requireReady } from "../require-ready.js";
import type { Call } from "../route.js";
import type { ServerDeps } from "../server-deps.js";
import type { contestantListSchema, importCountSchema } from "./arena-answers.js";
import { battleFrames, comparisonFrames, type Frames, turnFrames } from "./arena-frames.js";
import {
  battleRequest,
  type battleSchema,
  compareRequest,
  type compareSchema,
  parseFilter,
  type turnSchema,
  type voteSchema,
} from "./arena-requests.js";
import type { ArenaLimits } from "./arena-settings.js";

/** Of an import: ten thousand battles or so. */
const maxImportBytes = 64 * 2 ** 20;

export function listContestants({ deps }: Call): z.input<typeof contestantListSchema> {
  return { object: "list", data: deps.arena.arena.roster.contestants.map(contestantOf) };
}

export async function compare({ context, deps, body }: Call<z.output<typeof compareSchema>>): Promise<Response> {
  const request = compareRequest(await body());
  requireReady(deps.registry);
  const [left, right] = request.contestants.map(({ contestant, ...change }) =>
    deps.arena.arena.roster.find(contestant).changedBy(change),
  ) as [Contestant, Contestant];
  return stream(context, deps, (signal, onError) => comparisonFrames({ left, right }, request, signal, onError));
}

export async function startBattle({ context, deps, body }: Call<z.output<typeof battleSchema>>): Promise<Response> {
  await limit(context, deps, "battles");
  const { arena, pace } = deps.arena;
  const request = battleRequest(await body());
  // A random pair of half of the models would be a strange one.
  requireReady(deps.registry);
  const contestants = arena.draw(request.contestants);
  // Two answers that cannot be kept would be computed for nothing.
  await arena.tryStore();
  return stream(context, deps, (signal, onError) => battleFrames(arena, contestants, request, pace, signal, onError));
}

export async function continueBattle({ context, deps, body }: Call<z.output<typeof turnSchema>>): Promise<Response> {
  await limit(context, deps, "battles");
  const { arena, pace } = deps.arena;
  const request = await body();
  requireReady(deps.registry);
  const open = await arena.goOn(context.req.param("id") ?? "", request.ballot);
  await arena.tryStore();
  return stream(context, deps, (signal, onError) => turnFrames(arena, open, request, pace, signal, onError));
}

export async function vote({ context, deps, body }: Call<z.output<typeof voteSchema>>) {
  await limit(context, deps, "votes");
  const { ballot, winner } = await body();
  return toWire(await deps.arena.arena.vote(context.req.param("id") ?? "", ballot, winner));
}

export async function showLeaderboard({ context, deps }: Call) {
  const filter = parseFilter(context.req.query());
  return boardOf(await deps.arena.arena.leaderboard(filter), filter.category ?? null);
}

export async function exportBattles({ context, deps }: Call): Promise<Response> {
  const records = await deps.arena.arena.records(parseFilter(context.req.query()));
  return ndjson(records, (error) => deps.logError(context.get("requestId"), error));
}

export async function importBattles({ context, deps }: Call): Promise<z.input<typeof importCountSchema>> {
  const text = await readTextBody(context, maxImportBytes, deps.bodies);
  const records: BattleRecord[] = [];
  for (const record of recordsFrom(itemsOf(text, "invalid_json"))) {
    records.push(record);
    // Ten thousand records take a second, in which streams have their turns.
    if (records.length % 100 === 0) await setImmediate();
  }
  return deps.arena.arena.import(records);
}

/** @throws ToastError `rate_limit_exceeded` */
async function limit(context: Context<RequestEnvironment>, deps: ServerDeps, what: keyof ArenaLimits): Promise<void> {
  const limiter = deps.arena.limits[what];
  const admission = await limiter.admit(context.get("caller").id);
  if (admission.kind === "admitted") {
    admission.release();
    return;
  }
  const { retryAfterSeconds: seconds } = admission;
  context.header("retry-after", String(seconds));
  const message = `That is too many ${what}: this server takes ${limiter.limits.requestsPerMinute} a minute from one client. Try again in ${seconds} s.`;
  throw new ToastError("rate_limit_exceeded", message);
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

/** Neither address nor key of a remote one. */
function contestantOf({ id, label, kind, model, steering, system, template, arena }: Contestant) {
  return { id, label, kind, model, steering, system, template, arena };
}

function boardOf({ leaderboard, categories, computedAt }: ArenaBoard, category: string | null) {
  const { standings, pairings, ...rest } = leaderboard;
  return toWire({
    object: "leaderboard" as const,
    category,
    categories,
    computedAt,
    ...rest,
    contestants: standings,
    pairs: pairings,
  });
}

/**
 * Reads the first page before the response begins: a store that fails is a status, not half a file.
 * @param onError hears of a failure in the middle, which cuts the connection.
 */
async function ndjson(records: AsyncIterable<BattleRecord>, onError: (error: unknown) => void): Promise<Response> {
  const encoder = new TextEncoder();
  const source = records[Symbol.asyncIterator]();
  let next = await source.next();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (next.done === true) {
          controller.close();
          return;
        }
        controller.enqueue(encoder.encode(`${JSON.stringify(toWire(next.value))}\n`));
        try {
          next = await source.next();
        } catch (error) {
          onError(error);
          controller.error(error);
        }
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
