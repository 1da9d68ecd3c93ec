import { ToastError } from "../../errors.js";
import type { LlamaConfig } from "../llama-config.js";
import { llamaTensors } from "../llama-tensors.js";
import type { TensorRows } from "../weight-source.js";
import type { GgufTensor } from "./gguf-header.js";
import { ggufName, ropeFactorsName } from "./gguf-names.js";
import type { GgufReader } from "./gguf-reader.js";

/**
 * The tensors of a GGUF file as the decoder's graph reads them: under Hugging Face's names, dequantized, rows of q and
 * k in Hugging Face's order.
 *
 * llama.cpp turns elements 2j and 2j+1 of a head with each other, Hugging Face's order of rows and our graph j and j +
 * Hd/2; its converter stores the rows of q and k such that both come to the same. That is undone here, a few whole
 * heads at a time.
 */
export class GgufTensors implements TensorRows {
  readonly #reader: GgufReader;
  readonly #config: LlamaConfig;
  /** By Hugging Face's name; null: a bias that the file leaves out while it has others, which is zero. */
  readonly #places: ReadonlyMap<string, GgufTensor | null>;

  /**
   * @throws ToastError `missing_tensor`, `misshapen_tensor`, and `unsupported_architecture` for a tensor that has no
   *   place in the decoder: the model then does something that the graph would leave out.
   */
  constructor(reader: GgufReader, config: LlamaConfig) {
    const places = new Map<string, GgufTensor | null>();
    const known = new Set([ropeFactorsName]);
    for (const [name, shape] of llamaTensors(config)) {
      const stored = ggufName(name);
      const isLeftOut = name.endsWith(".bias") && reader.find(stored) === undefined;
      places.set(name, isLeftOut ? null : reader.expect(stored, shape.toReversed()));
      known.add(stored);
    }
    for (const { name, file } of reader.tensors) {
      if (known.has(name)) continue;
      throw new ToastError(
        "unsupported_architecture",
        `${file}: tensor ${name} has no place in a plain LLaMA decoder.`,
      );
    }
    this.#reader = reader;
    this.#config = config;
    this.#places = places;
  }

  async *floatRows(name: string): AsyncGenerator<Float32Array> {
    const tensor = this.#places.get(name);
    if (tensor === undefined) throw new Error(`a decoder of this shape has no tensor ${name}`);
    if (tensor === null) {
      yield new Float32Array(llamaTensors(this.#config).get(name)?.[0] ?? 0);
      return;
    }
    if (!/\.self_attn\.[qk]_proj\./.test(name)) {
      yield* this.#reader.floatRows(tensor);
      return;
    }
    const { headDim } = this.#config;
    const rowSize = name.endsWith(".bias") ? 1 : (tensor.dimensions[0] ?? 1);
    let ordered = new Float32Array();
    for await (const rows of this.#reader.floatRows(tensor, headDim)) {
      if (ordered.length < rows.length) ordered = new Float32Array(rows.length);
      orderHalves(rows, ordered, headDim, rowSize);
      yield ordered.subarray(0, rows.length);
    }
  }
}

/** Rows of whole heads, from pairs that turn together (2j, 2j+1) to halves that do (j, j + Hd/2). */
function orderHalves(rows: Float32Array, ordered: Float32Array, headDim: number, rowSize: number): void {
  const half = headDim / 2;
  for (let row = 0; row < rows.length / rowSize; row++) {
    const inHead = row % headDim;
    const to = row - inHead + (inHead >> 1) + (inHead % 2) * half;
    ordered.set(rows.subarray(row * rowSize, (row + 1) * rowSize), to * rowSize);
  }
}
