import {
  bytesPerElement,
  type DataType,
  encodeOnnxModel,
  type OnnxAttribute,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxValue,
} from "./onnx-proto.js";
import type { WeightSource } from "./weight-source.js";

/** onnxruntime's own operators. */
export const microsoft = "com.microsoft";

/** Operator sets of every graph here. 21 has all that is used; newer ones would only ask for a newer onnxruntime. */
const opsets = { "": 21, [microsoft]: 1 };

/** A value inside a graph under construction; only the builder makes them. */
export interface Value {
  readonly name: string;
}

interface NodeOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, OnnxAttribute>>;
}

/** A weight in the data file, placed but not written yet. */
export interface PlacedWeight {
  readonly name: string;
  readonly type: DataType;
  readonly dims: readonly number[];
  readonly offset: number;
  readonly bytes: number;
  readonly source: WeightSource;
}

/** Windows maps files only at multiples of 64 KiB (Linux: 4 KiB), and small weights are not worth a page of their own. */
const largeAlignment = 65536;
const largeFrom = 1 << 20;
const smallAlignment = 64;

/**
 * Collects nodes and weights of one graph. Weights are only placed (name, shape, offset in the data file), so that a graph is
 * complete before the first byte of weights is read.
 */
export class GraphBuilder {
  readonly #name: string;
  readonly #weightsFile: string;
  readonly #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, OnnxInitializer>();
  readonly #weights: PlacedWeight[] = [];
  readonly #inputs: OnnxValue[] = [];
  readonly #outputs: OnnxValue[] = [];
  readonly #taken = new Set<string>();
  #weightBytes = 0;
  #scope = "";

  /** @param weightsFile plain name of the data file beside the graph file. */
  constructor(name: string, weightsFile: string) {
    this.#name = name;
    this.#weightsFile = weightsFile;
  }

  /** What is built inside gets names that begin with `name/`. */
  scope<T>(name: string, build: () => T): T {
    const outer = this.#scope;
    this.#scope = `${outer}${name}/`;
    const result = build();
    this.#scope = outer;
    return result;
  }

  input(name: string, type: DataType, dims: readonly (number | string)[]): Value {
    this.#inputs.push({ name, type, dims });
    return { name: this.#claim(name) };
  }

  /** Declares a value as an output; it must have been made under this very name. */
  output(value: Value, type: DataType, dims: readonly (number | string)[]): void {
    this.#outputs.push({ name: value.name, type, dims });
  }

  /**
   * A node with one output.
   * @param options.label what to call it instead of its operator; `output` is its exact name, for graph outputs.
   */
  node(op: string, inputs: readonly Value[], options: NodeOptions & { label?: string; output?: string } = {}): Value {
    const name = options.output ?? this.#fresh(options.label ?? op);
    this.#addNode(op, inputs, [name], options);
    return { name };
  }

  /** A node with several outputs, in the operator's order; null leaves an optional one out. */
  nodeOf<const Outputs extends readonly (string | { readonly output: string } | null)[]>(
    op: string,
    inputs: readonly Value[],
    outputs: Outputs,
    options: NodeOptions = {},
  ): { [K in keyof Outputs]: Value } {
    const names = outputs.map((output) => {
      if (output === null) return "";
      return typeof output === "string" ? this.#fresh(output) : output.output;
    });
    this.#addNode(op, inputs, names, options);
    return names.map((name) => ({ name })) as { [K in keyof Outputs]: Value };
  }

  int64(values: readonly number[], dims: readonly number[] = [values.length]): Value {
    const bytes = new Uint8Array(BigInt64Array.from(values, BigInt).buffer);
    return this.#inline(`int64:${dims.join("x")}:${values.join(",")}`, "int64", dims, bytes);
  }

  float32(values: readonly number[], dims: readonly number[] = [values.length]): Value {
    const bytes = new Uint8Array(Float32Array.from(values).buffer);
    return this.#inline(`float32:${dims.join("x")}:${values.join(",")}`, "float32", dims, bytes);
  }

  uint8(values: readonly number[], dims: readonly number[] = [values.length]): Value {
    return this.#inline(`uint8:${dims.join("x")}:${values.join(",")}`, "uint8", dims, Uint8Array.from(values));
  }

  /** A constant of its own, though another of equal content may stand in the graph. */
  int8Zeros(name: string, count: number): Value {
    this.#claim(name);
    return this.#inline(name, "int8", [count], new Uint8Array(count));
  }

  /** Places a weight in the data file, after those placed before it. A weight of the same name is the same weight. */
  weight(name: string, type: DataType, dims: readonly number[], source: WeightSource): Value {
    if (this.#initializers.has(name)) return { name };
    const bytes = dims.reduce((product, size) => product * size, bytesPerElement[type]);
    const alignment = bytes >= largeFrom ? largeAlignment : smallAlignment;
    const offset = Math.ceil(this.#weightBytes / alignment) * alignment;
    this.#weightBytes = offset + bytes;
    this.#claim(name);
    this.#weights.push({ name, type, dims, offset, bytes, source });
    const data = { kind: "external", file: this.#weightsFile, offset, bytes } as const;
    this.#initializers.set(name, { name, type, dims, data });
    return { name };
  }

  /** A second initializer over the bytes of a weight that is placed already. */
  alias(name: string, of: Value): Value {
    const initializer = this.#initializers.get(of.name);
    if (initializer === undefined) throw new Error(`${name} is an alias of ${of.name}, which is not placed`);
    this.#claim(name);
    this.#initializers.set(name, { ...initializer, name });
    return { name };
  }

  /** @returns the bytes of the graph file, and where each weight belongs in the data file. */
  build(): { graph: Uint8Array; weights: readonly PlacedWeight[] } {
    const graph = encodeOnnxModel({
      name: this.#name,
      opsets,
      nodes: this.#nodes,
      initializers: [...this.#initializers.values()],
      inputs: this.#inputs,
      outputs: this.#outputs,
    });
    return { graph, weights: this.#weights };
  }

  /** Constants of equal content are one initializer. */
  #inline(name: string, type: DataType, dims: readonly number[], bytes: Uint8Array): Value {
    if (!this.#initializers.has(name)) {
      this.#initializers.set(name, { name, type, dims, data: { kind: "inline", bytes } });
    }
    return { name };
  }

  #addNode(op: string, inputs: readonly Value[], outputs: readonly string[], options: NodeOptions): void {
    const { domain = "", attributes = {} } = options;
    for (const output of outputs) if (output !== "") this.#claim(output);
    const name = outputs.find((output) => output !== "") ?? op;
    this.#nodes.push({ name, op, domain, inputs: inputs.map((input) => input.name), outputs, attributes });
  }

  #fresh(label: string): string {
    const stem = `${this.#scope}${label}`;
    let name = stem;
    for (let count = 2; this.#taken.has(name); count++) name = `${stem}.${count}`;
    return name;
  }

  #claim(name: string): string {
    if (this.#taken.has(name)) throw new Error(`two values named ${name} in one graph`);
    this.#taken.add(name);
    return name;
  }
}
