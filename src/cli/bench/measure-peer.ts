import type { BenchModel } from "./bench-model.js";
import { LlamaCpp, type PeerOptions } from "./llama-cpp.js";
import { type DecodeSettings, decode } from "./measure-decode.js";
import { prefillMs } from "./measure-prefill.js";
import { type Ratio, ratioOf } from "./ratios.js";
import { inRounds } from "./rounds.js";
import { median } from "./statistics.js";
import { type Way, wayLabels } from "./way.js";

/** Ours in one of its ways, or the peer; medians over the rounds. */
export interface PeerSpeed {
  readonly what: "decode" | "prompt";
  readonly who: Way | "peer";
  /** Streams of text, or tokens of a prompt. */
  readonly at: number;
  readonly tokensPerSecond: number;
}

interface PeerCase extends Pick<PeerSpeed, "what" | "who" | "at"> {
  readonly measure: (round: number) => Promise<number>;
}

/**
 * Our engine and llama.cpp in turn, the same streams and lengths of prompt.
 * @throws ToastError `invalid_option`, `peer_failed`
 */
export async function measurePeer(
  model: BenchModel,
  peerOptions: PeerOptions,
  settings: DecodeSettings & { readonly lengths: readonly number[] },
  stop: AbortSignal,
  onRun: (fraction: number) => void,
): Promise<{ readonly speeds: readonly PeerSpeed[]; readonly ratios: readonly Ratio[] }> {
  const peer = await LlamaCpp.open(peerOptions);
  const ways = model.ways.filter((way) => way === "plain" || way === "draftAhead");
  const decoding = settings.streams.flatMap((streams): PeerCase[] => [
    ...ways.map((way): PeerCase => {
      const measure = async (round: number) =>
        (await decode(model, { streams, way }, round, settings, stop)).tokensPerSecond;
      return { what: "decode", who: way, at: streams, measure };
    }),
    { what: "decode", who: "peer", at: streams, measure: () => peer.decode(streams, settings.tokens, stop) },
  ]);
  const lengths = settings.lengths.filter((length) => length < model.info.contextLength);
  const reading = lengths.flatMap((length): PeerCase[] => [
    {
      what: "prompt",
      who: "plain",
      at: length,
      measure: async (round) =>
        (1000 * length) / (await prefillMs(model, { passes: "one", length }, settings.seed + round, stop)),
    },
    { what: "prompt", who: "peer", at: length, measure: () => peer.prefill(length, stop) },
  ]);
  const results = await inRounds(settings.rounds, [...decoding, ...reading], (one, round) => one.measure(round), onRun);
  const ratios = results.flatMap(({ case: { what, who, at }, values }) => {
    if (who === "peer") return [];
    const theirs = results.find(({ case: one }) => one.who === "peer" && one.what === what && one.at === at);
    const name = `${what}, tokens/s: ${wayLabels[who]} / llama.cpp`;
    return [ratioOf(name, at, values, theirs?.values ?? [])];
  });
  const speeds = results.map(({ case: { what, who, at }, values }) => ({
    what,
    who,
    at,
    tokensPerSecond: median(values),
  }));
  return { speeds, ratios };
}
