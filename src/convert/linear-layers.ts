import type { Quantization } from "../model/manifest.js";
import { hadamardMatrix, rotationBlock } from "../model/rotation.js";
import type { ProductWeights } from "./decoder-weights.js";
import { type GraphBuilder, microsoft, type Value } from "./graph-builder.js";
import { blockSize, blocksOfRow } from "./quantize/quantize-blocks.js";
import { type RowSource, rotated, type WeightSource } from "./weight-source.js";

/**
 * Rows on their way into one or more linear layers: float32, or quantized once for all of them. `rotation`: channels
 * that were turned together, 1 where none were; weights have to be turned alike.
 */
export type LinearInput =
  | { readonly kind: "float32"; readonly rows: Value; readonly rotation: number }
  | {
      readonly kind: "int8";
      /** uint8 [M,K], zero point 128 */
      readonly rows: Value;
      /** float32 [M,1]: what one step of a row is worth. */
      readonly scales: Value;
      readonly rotation: number;
    };

/** Weights as Hugging Face keeps them: [outSize, inSize], one row per output. */
export interface LinearWeight {
  readonly name: string;
  readonly outSize: number;
  readonly inSize: number;
  readonly source: RowSource;
  /** See quantize/compensated-rounding.ts. */
  readonly spread?: () => Promise<Float32Array | null>;
}

/** Linear layers of one graph over one set of M rows. */
export interface LinearLayers {
  /** rows: float32 [M,K] */
  prepare(rows: Value): LinearInput;
  /**
   * The same for rows in which few channels are far larger than the others: where something is quantized, they are
   * turned first, and so are the weights that they meet (see model/rotation.ts).
   */
  prepareRotated(rows: Value, size: number): LinearInput;
  /**
   * @param output its exact name, for graph outputs.
   * @returns float32 [M,outSize] = input · weightᵀ, without bias.
   */
  apply(input: LinearInput, weight: LinearWeight, output?: string): Value;
}

/**
 * @param rowCount int64 [1]: M, the number of rows that will come.
 */
export function linearLayers(builder: GraphBuilder, quantization: Quantization, rowCount: Value): LinearLayers {
  switch (quantization) {
    case "none":
      return float32Layers(builder);
    case "int8":
      return int8Layers(builder, rowCount);
    case "int4":
      return int4Layers(builder);
  }
}

function float32Layers(builder: GraphBuilder): LinearLayers {
  return {
    prepare: asTheyAre,
    prepareRotated: asTheyAre,
    apply(input, weight, output) {
      const { name, outSize, inSize, source } = weight;
      const matrix = builder.weight(name, "float32", [outSize, inSize], { kind: "float32", rows: source });
      // The weight stays as it lies in the source, so it can be streamed, and a tied output head shares the embedding
      // table.
      const options = { domain: microsoft, attributes: { transB: { int: 1 } }, ...named(output) };
      return builder.node("FusedMatMul", [input.rows, matrix], options);
    },
  };
}

/**
 * W8A8 per token: each row is quantized to uint8 in the graph (zero point 128, scale = absmax/127), multiplied with
 * int8 weights that have one scale per output, and scaled back. Integer products are exact, so a row's result does not
 * depend on the rows beside it. A row of zeros has the scale 0: whatever 0/0 is quantized to is a whole number, and 0
 * times it is 0.
 *
 * QGemm was measured against MatMulInteger + Cast + Mul and MatMulIntegerToFloat (AVX-512 VNNI, 2 cores, K 2048, N
 * 5632, median ms for M = 1 / 2 / 8 / 128): QGemm 0.18 / 0.21 / 0.57 / 7.0, MatMulInteger 0.18 / 0.17 / 0.38 / 7.4,
 * MatMulIntegerToFloat 0.17 / 0.23 / 0.41 / 7.5, fp32 1.7 / 1.8 / 2.4 / 23.5; K 768, N 2304: 0.07 / 0.06 / 0.09 / 1.1,
 * 0.11 / 0.10 / 0.20 / 1.6, 0.04 / 0.06 / 0.12 / 1.6. It is level with the best, and the only one that takes weights as
 * they lie in the source ([outSize, inSize]): they are quantized row by row in a stream, and a tied head shares the
 * embedding table.
 */
function int8Layers(builder: GraphBuilder, rowCount: Value): LinearLayers {
  const zeroPoints = builder.node("Expand", [builder.uint8([128], []), rowCount], { label: "zero_points" });
  const quantize = (rows: Value, rotation: number): LinearInput => {
    const magnitude = builder.node("Abs", [rows]);
    const attributes = { keepdims: { int: 0 } };
    const absMax = builder.node("ReduceMax", [magnitude, builder.int64([1])], { attributes });
    const scales = builder.node("Mul", [absMax, builder.float32([1 / 127], [])]);
    const quantized = builder.node("QuantizeLinear", [rows, scales, zeroPoints], {
      attributes: { axis: { int: 0 } },
    });
    return { kind: "int8", rows: quantized, scales: builder.node("Unsqueeze", [scales, builder.int64([1])]), rotation };
  };
  return {
    prepare: (rows) => quantize(rows, 1),
    prepareRotated(rows, size) {
      const block = rotationBlock(size);
      return quantize(rotate(builder, rows, size, block), block);
    },
    apply(input, weight, output) {
      if (input.kind !== "int8") throw new Error("int8 layers take rows prepared by int8 layers");
      const { name, outSize, inSize, source, spread } = weight;
      const matrix = builder.weight(name, "int8", [outSize, inSize], {
        kind: "int8",
        rows: rotated(source, input.rotation),
        ...(spread === undefined ? {} : { spread }),
      });
      const weightScales = builder.weight(`${name}.scales`, "float32", [outSize], { kind: "scales", of: name });
      const one = builder.float32([1], []);
      // Each layer has zero points of its own: where onnxruntime has to rewrite weights and zero points as unsigned
      // bytes (see OnnxSession), it does so layer by layer and cannot share.
      const weightZeroPoints = builder.int8Zeros(`${name}.zero_points`, outSize);
      const inputs = [input.rows, one, builder.uint8([128], []), matrix, weightScales, weightZeroPoints];
      // QGemm knows one scale for all rows: it gets 1, and the rows are scaled afterwards.
      const product = builder.node("QGemm", inputs, { domain: microsoft, attributes: { transB: { int: 1 } } });
      return builder.node("Mul", [product, input.scales], named(output));
    },
  };
}

/**
 * Weights in blocks of 4-bit codes (see quantize-blocks.ts). MatMulNBits quantizes the rows itself, to int8 by block
 * (accuracy_level 4), and never has the weights whole. Turned, the channels of a block are alike in what they lose.
 */
function int4Layers(builder: GraphBuilder): LinearLayers {
  return {
    prepare: asTheyAre,
    prepareRotated(rows, size) {
      const rotation = rotationBlock(size);
      return { kind: "float32", rows: rotate(builder, rows, size, rotation), rotation };
    },
    apply(input, weight, output) {
      if (input.kind !== "float32") throw new Error("int4 layers take rows of float32");
      const { name, outSize, inSize, source, spread } = weight;
      const { codeBytes, scaleCount, zeroPointBytes } = blocksOfRow(inSize);
      const rows: WeightSource = {
        kind: "int4",
        rows: rotated(source, input.rotation),
        size: inSize,
        ...(spread === undefined ? {} : { spread }),
      };
      const codes = builder.weight(name, "uint8", [outSize, scaleCount, codeBytes / scaleCount], rows);
      const scales = builder.weight(`${name}.scales`, "float32", [outSize, scaleCount], { kind: "scales", of: name });
      const zeroPoints = builder.weight(`${name}.zero_points`, "uint8", [outSize, zeroPointBytes], {
        kind: "zero_points",
        of: name,
      });
      const attributes = {
        K: { int: inSize },
        N: { int: outSize },
        bits: { int: 4 },
        block_size: { int: blockSize },
        accuracy_level: { int: 4 },
      };
      const inputs = [input.rows, codes, scales, zeroPoints];
      return builder.node("MatMulNBits", inputs, { domain: microsoft, attributes, ...named(output) });
    },
  };
}

/** A linear layer with the bias that it has, if it has one. */
export function linearWithBias(
  b: GraphBuilder,
  linears: LinearLayers,
  input: LinearInput,
  { name, rows, bias, ...weight }: ProductWeights,
): Value {
  const product = linears.apply(input, { ...weight, name: `${name}.weight`, source: rows });
  if (bias === null) return product;
  return b.node("Add", [
    product,
    b.weight(`${name}.bias`, "float32", [weight.outSize], { kind: "float32", rows: bias }),
  ]);
}

function asTheyAre(rows: Value): LinearInput {
  return { kind: "float32", rows, rotation: 1 };
}

/**
 * Turns each run of `block` channels by the Hadamard matrix, which undoes itself.
 * @param rows float32 [M,size]
 */
export function rotate(builder: GraphBuilder, rows: Value, size: number, block: number): Value {
  if (block === 1) return rows;
  const matrix = builder.float32([...hadamardMatrix(block)], [block, block]);
  const runs = builder.node("Reshape", [rows, builder.int64([-1, block])]);
  const turned = builder.node("MatMul", [runs, matrix], { label: "rotated" });
  return builder.node("Reshape", [turned, builder.int64([-1, size])]);
}

function named(output: string | undefined): { output?: string } {
  return output === undefined ? {} : { output };
}
