import { readFileSync } from "node:fs";

/** Expected values that the PyTorch reference wrote (scripts/, golden.safetensors). Floats are row-major. */
export class Golden {
  readonly #bytes: Buffer;
  readonly #dataStart: number;
  readonly #header: Readonly<Record<string, { shape: readonly number[]; data_offsets: readonly [number, number] }>>;

  constructor(file: string) {
    this.#bytes = readFileSync(file);
    this.#dataStart = 8 + Number(this.#bytes.readBigUInt64LE());
    this.#header = JSON.parse(this.#bytes.toString("utf8", 8, this.#dataStart));
  }

  floats(name: string): Float32Array {
    return new Float32Array(this.#data(name));
  }

  ids(name: string): number[] {
    return [...new BigInt64Array(this.#data(name))].map(Number);
  }

  #data(name: string): ArrayBuffer {
    const entry = this.#header[name];
    if (entry === undefined) throw new Error(`no golden values ${name}`);
    const [begin, end] = entry.data_offsets;
    const data = new ArrayBuffer(end - begin);
    new Uint8Array(data).set(this.#bytes.subarray(this.#dataStart + begin, this.#dataStart + end));
    return data;
  }
}
