import {
  type DataType,
  encodeOnnxModel,
  type OnnxAttribute,
  type OnnxInitializer,
  type OnnxNode,
  type OnnxSubgraph,
  type OnnxValue,
} from "../model/onnx-proto.js";
import type { Weight, WeightsFile } from "./weight-layout.js";
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

/** A value that each of two ways makes. */
interface Chosen {
  readonly value: string | { readonly output: string };
  readonly dims: readonly (number | string)[];
}

/** A graph file's bytes, and the plan of the data files beside it. */
export interface BuiltGraph {
  readonly graph: Uint8Array;
  readonly files: readonly WeightsFile[];
}

/**
 * Collects nodes and weights of one graph. Weights are only named (shape, where they come from) and placed at the end,
 * so that a graph is complete before the first byte of weights is read.
 */
export class GraphBuilder {
  readonly #name: string;
  /** Of the graph, or of the branch that is being built. */
  #nodes: OnnxNode[] = [];
  readonly #initializers = new Map<string, OnnxInitializer>();
  readonly #weights = new Map<string, Weight>();
  /** Second names of weights. */
  readonly #aliases: { readonly name: string; readonly of: string }[] = [];
  readonly #inputs: OnnxValue[] = [];
  readonly #outputs: OnnxValue[] = [];
  readonly #taken = new Set<string>();
  #scope = "";

  constructor(name: string) {
    this.#name = name;
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

  /**
   * Two ways to the same float32 values, of which a run takes one.
   * @param condition bool, one element: whether the first is taken.
   * @param outputs as for `nodeOf`, each with its dimensions.
   */
  choose<const Outputs extends readonly Chosen[]>(
    condition: Value,
    outputs: Outputs,
    ways: { readonly [way in "whenTrue" | "whenFalse"]: () => { [K in keyof Outputs]: Value } },
  ): { [K in keyof Outputs]: Value } {
    const subgraph = (way: "whenTrue" | "whenFalse"): OnnxSubgraph => {
      const around = this.#nodes;
      this.#nodes = [];
      const values = this.scope(way, ways[way]);
      const nodes = this.#nodes;
      this.#nodes = around;
      const declared = outputs.map(({ dims }, i) => ({ name: nameOf(values[i]), type: "float32" as const, dims }));
      return { name: `${this.#scope}${way}`, nodes, outputs: declared };
    };
    const attributes = { then_branch: { graph: subgraph("whenTrue") }, else_branch: { graph: subgraph("whenFalse") } };
    const names = outputs.map(({ value }) => value);
    return this.nodeOf("If", [condition], names, { attributes }) as { [K in keyof Outputs]: Value };
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

  /** A weight in a data file beside the graph. A weight of the same name is the same weight. */
  weight(name: string, type: DataType, dims: readonly number[], source: WeightSource): Value {
    if (this.#weights.has(name)) return { name };
    this.#claim(name);
    this.#weights.set(name, { name, type, dims, source });
    return { name };
  }

  /** A second initializer over the bytes of a weight. */
  alias(name: string, of: Value): Value {
    if (!this.#weights.has(of.name)) throw new Error(`${name} is an alias of ${of.name}, which is no weight`);
    this.#claim(name);
    this.#aliases.push({ name, of: of.name });
    return { name };
  }

  /**
   * @param layOut places the weights in files (see weight-layout.ts).
   * @returns the bytes of the graph file, and the files of weights to be written beside it.
   */
  build(layOut: (weights: readonly Weight[]) => WeightsFile[] = () => []): BuiltGraph {
    const files = layOut([...this.#weights.values()]);
    const placed = new Map<string, OnnxInitializer>();
    for (const file of files) {
      for (const { name, type, dims, offset, bytes } of file.weights) {
        placed.set(name, { name, type, dims, data: { kind: "external", file: file.name, offset, bytes } });
      }
    }
    const external = [...this.#weights.keys()].map((name) => placedAs(name, placed.get(name)));
    const aliases = this.#aliases.map(({ name, of }) => placedAs(name, placed.get(of)));
    const graph = encodeOnnxModel({
      name: this.#name,
      opsets,
      nodes: this.#nodes,
      initializers: [...this.#initializers.values(), ...external, ...aliases],
      inputs: this.#inputs,
      outputs: this.#outputs,
    });
    return { graph, files };
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

function nameOf(value: Value | undefined): string {
  if (value === undefined) throw new Error("a branch makes fewer values than it says");
  return value.name;
}

function placedAs(name: string, initializer: OnnxInitializer | undefined): OnnxInitializer {
  if (initializer === undefined) throw new Error(`the layout of weights has no place for ${name}`);
  return { ...initializer, name };
}
