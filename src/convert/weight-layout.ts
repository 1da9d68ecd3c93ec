import { bytesPerElement, type DataType } from "../model/onnx-proto.js";
import type { WeightSource } from "./weight-source.js";

/** A weight of a graph: what it is, not where it lies. */
export interface Weight {
  readonly name: string;
  readonly type: DataType;
  readonly dims: readonly number[];
  readonly source: WeightSource;
}

/** A weight in a data file, placed but not written yet. */
export interface PlacedWeight extends Weight {
  readonly offset: number;
  readonly bytes: number;
}

/** A data file beside the graph, in the order in which it is written. */
export interface WeightsFile {
  /** Plain file name. */
  readonly name: string;
  readonly weights: readonly PlacedWeight[];
}

/**
 * Windows maps files only at multiples of 64 KiB (Linux: 4 KiB), and small weights are not worth a page of their own.
 */
const largeAlignment = 65536;
const largeFrom = 1 << 20;
const smallAlignment = 64;

/**
 * Hosts of repositories warn above 50 MB a file; a model that is too large for them anyway comes in a few large ones.
 */
const partBytes = 45_000_000;
const fewPartsFrom = 1_000_000_000;
const largePartBytes = 2_000_000_000;

/** Everything in one file, in the order given. */
export function layInOneFile(name: string, weights: readonly Weight[]): WeightsFile[] {
  return [{ name, weights: place(weights) }];
}

/**
 * Matrices with what is derived from them in parts of at most 45 MB (a larger one has a part of its own; of models over
 * 1 GB parts have 2 GB), and all that is small in a file behind them. Both are in order of names, so that a later graph
 * over the same weights finds the same bytes in the same files; and layers come in their order, as a calibration
 * computes them.
 */
export function layInParts(stem: string, weights: readonly Weight[]): WeightsFile[] {
  const ordered = [...weights].sort((a, b) => byName.compare(a.name, b.name));
  const isMatrix = ({ dims, source, type }: Weight): boolean =>
    source.kind === "float32" ? source.rows.kind !== "computed" && bytesOf({ dims, type }) >= largeFrom : true;
  const matrices = ordered.filter(isMatrix);
  const total = matrices.reduce((sum, weight) => sum + bytesOf(weight), 0);
  const parts = inParts(matrices, total <= fewPartsFrom ? partBytes : largePartBytes);
  const digits = String(parts.length).length;
  return [
    ...parts.map((part, index) => ({
      name: `${stem}.weights-${String(index + 1).padStart(digits, "0")}`,
      weights: place(part),
    })),
    { name: `${stem}.data`, weights: place(ordered.filter((weight) => !isMatrix(weight))) },
  ];
}

/** Numbers by value: layer 2 before layer 10. */
const byName = new Intl.Collator("en", { numeric: true });

function inParts(weights: readonly Weight[], limit: number): Weight[][] {
  const parts: Weight[][] = [];
  let filled = Number.POSITIVE_INFINITY;
  for (const weight of weights) {
    const end = endOf(filled, weight);
    // What is derived from a weight stays with it: it is only known when that is written.
    const isDerived = weight.source.kind === "scales" || weight.source.kind === "zero_points";
    if (end > limit && !isDerived) {
      parts.push([weight]);
      filled = bytesOf(weight);
    } else {
      parts.at(-1)?.push(weight);
      filled = end;
    }
  }
  return parts;
}

function place(weights: readonly Weight[]): PlacedWeight[] {
  let end = 0;
  return weights.map((weight) => {
    const bytes = bytesOf(weight);
    const offset = endOf(end, weight) - bytes;
    end = offset + bytes;
    return { ...weight, offset, bytes };
  });
}

/** Where a weight ends that comes after `end` bytes. */
function endOf(end: number, weight: Weight): number {
  const bytes = bytesOf(weight);
  const alignment = bytes >= largeFrom ? largeAlignment : smallAlignment;
  return Math.ceil(end / alignment) * alignment + bytes;
}

function bytesOf({ dims, type }: Pick<Weight, "dims" | "type">): number {
  return dims.reduce((product, size) => product * size, bytesPerElement[type]);
}
