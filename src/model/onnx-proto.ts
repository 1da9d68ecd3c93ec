import protobuf from "protobufjs";

/**
 * The part of onnx.proto that the converter writes, with its field numbers. The one door to protobufjs.
 * @see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
const root = protobuf.Root.fromJSON({
  nested: {
    onnx: {
      nested: {
        AttributeProto: {
          fields: {
            name: { type: "string", id: 1 },
            f: { type: "float", id: 2 },
            i: { type: "int64", id: 3 },
            s: { type: "bytes", id: 4 },
            g: { type: "GraphProto", id: 6 },
            floats: { rule: "repeated", type: "float", id: 7 },
            ints: { rule: "repeated", type: "int64", id: 8 },
            type: { type: "int32", id: 20 },
          },
        },
        ValueInfoProto: { fields: { name: { type: "string", id: 1 }, type: { type: "TypeProto", id: 2 } } },
        NodeProto: {
          fields: {
            input: { rule: "repeated", type: "string", id: 1 },
            output: { rule: "repeated", type: "string", id: 2 },
            name: { type: "string", id: 3 },
            opType: { type: "string", id: 4 },
            attribute: { rule: "repeated", type: "AttributeProto", id: 5 },
            domain: { type: "string", id: 7 },
          },
        },
        ModelProto: {
          fields: {
            irVersion: { type: "int64", id: 1 },
            producerName: { type: "string", id: 2 },
            producerVersion: { type: "string", id: 3 },
            graph: { type: "GraphProto", id: 7 },
            opsetImport: { rule: "repeated", type: "OperatorSetIdProto", id: 8 },
          },
        },
        StringStringEntryProto: { fields: { key: { type: "string", id: 1 }, value: { type: "string", id: 2 } } },
        GraphProto: {
          fields: {
            node: { rule: "repeated", type: "NodeProto", id: 1 },
            name: { type: "string", id: 2 },
            initializer: { rule: "repeated", type: "TensorProto", id: 5 },
            input: { rule: "repeated", type: "ValueInfoProto", id: 11 },
            output: { rule: "repeated", type: "ValueInfoProto", id: 12 },
          },
        },
        TensorProto: {
          fields: {
            dims: { rule: "repeated", type: "int64", id: 1 },
            dataType: { type: "int32", id: 2 },
            name: { type: "string", id: 8 },
            rawData: { type: "bytes", id: 9 },
            externalData: { rule: "repeated", type: "StringStringEntryProto", id: 13 },
            dataLocation: { type: "int32", id: 14 },
          },
        },
        TensorShapeProto: {
          fields: { dim: { rule: "repeated", type: "Dimension", id: 1 } },
          nested: {
            Dimension: { fields: { dimValue: { type: "int64", id: 1 }, dimParam: { type: "string", id: 2 } } },
          },
        },
        TypeProto: {
          fields: { tensorType: { type: "Tensor", id: 1 } },
          nested: {
            Tensor: { fields: { elemType: { type: "int32", id: 1 }, shape: { type: "TensorShapeProto", id: 2 } } },
          },
        },
        OperatorSetIdProto: { fields: { domain: { type: "string", id: 1 }, version: { type: "int64", id: 2 } } },
      },
    },
  },
});
const modelProto = root.lookupType("onnx.ModelProto");
const nodeProto = root.lookupType("onnx.NodeProto");
const tensorProto = root.lookupType("onnx.TensorProto");

/** Of a model its graph; of a graph its nodes and weights. */
const fieldIds = { graph: 7, node: 1, initializer: 5 } as const;

interface DecodedNode {
  readonly input?: readonly string[];
  readonly attribute?: readonly { readonly name: string; readonly f?: number }[];
}

interface DecodedTensor {
  readonly name: string;
  readonly rawData?: Uint8Array;
  readonly externalData?: readonly { readonly key: string; readonly value: string }[];
}

/** TensorProto.DataType. */
export const dataTypes = { float32: 1, uint8: 2, int8: 3, int64: 7, bool: 9, float64: 11 } as const;
export type DataType = keyof typeof dataTypes;

export const bytesPerElement: Readonly<Record<DataType, number>> = {
  float32: 4,
  uint8: 1,
  int8: 1,
  int64: 8,
  bool: 1,
  float64: 8,
};

/** AttributeProto.AttributeType. */
const attributeTypes = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const;

/** A node attribute; the protocol tells floats from whole numbers, JavaScript does not. */
export type OnnxAttribute =
  | { readonly float: number }
  | { readonly int: number }
  | { readonly ints: readonly number[] }
  | { readonly string: string }
  | { readonly graph: OnnxSubgraph };

/** What a node runs inside: it sees the values around it, and takes no inputs. */
export interface OnnxSubgraph {
  readonly name: string;
  readonly nodes: readonly OnnxNode[];
  readonly outputs: readonly OnnxValue[];
}

export interface OnnxNode {
  readonly name: string;
  readonly op: string;
  /** `""`: the standard operators; `com.microsoft`: onnxruntime's own. */
  readonly domain: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, OnnxAttribute>>;
}

/** A dimension is a size or the letter of one that is known only at run time. */
export interface OnnxValue {
  readonly name: string;
  readonly type: DataType;
  readonly dims: readonly (number | string)[];
}

/** A weight: small ones inside the graph file, the others at a place in the data file beside it. */
export interface OnnxInitializer {
  readonly name: string;
  readonly type: DataType;
  readonly dims: readonly number[];
  readonly data:
    | { readonly kind: "inline"; readonly bytes: Uint8Array }
    | { readonly kind: "external"; readonly file: string; readonly offset: number; readonly bytes: number };
}

export interface OnnxModel {
  readonly name: string;
  readonly opsets: Readonly<Record<string, number>>;
  readonly nodes: readonly OnnxNode[];
  readonly initializers: readonly OnnxInitializer[];
  readonly inputs: readonly OnnxValue[];
  readonly outputs: readonly OnnxValue[];
}

/** The intermediate-representation version that belongs to operator set 21. */
const irVersion = 10;

/** Serializes a model as the bytes of an `.onnx` file. Knows nothing of what the operators mean. */
export function encodeOnnxModel(model: OnnxModel): Uint8Array {
  const message = modelProto.fromObject({
    irVersion,
    producerName: "toast-serve",
    opsetImport: Object.entries(model.opsets).map(([domain, version]) => ({ domain, version })),
    graph: {
      name: model.name,
      node: model.nodes.map(encodeNode),
      initializer: model.initializers.map(encodeInitializer),
      input: model.inputs.map(encodeValue),
      output: model.outputs.map(encodeValue),
    },
  });
  return modelProto.encode(message).finish();
}

/** What a graph says of one of its norms. */
interface NormNode {
  readonly epsilon: number;
  /** Where its gain lies: float32 bytes within the graph, or a place in a data file beside it. */
  readonly gain: OnnxInitializer["data"];
}

/**
 * @param gain the name of the norm's gain, among the weights of an `.onnx` file's bytes.
 * @returns null when there is no such norm.
 */
export function normNode(model: Uint8Array, gain: string): NormNode | null {
  let epsilon: number | null = null;
  let place: OnnxInitializer["data"] | null = null;
  for (const graph of fieldsOf(model).filter(({ id }) => id === fieldIds.graph)) {
    for (const { id, bytes } of fieldsOf(graph.bytes)) {
      // There are thousands: only those that hold the name are decoded.
      if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(gain)) continue;
      if (id === fieldIds.node) {
        const { input, attribute = [] } = nodeProto.toObject(nodeProto.decode(bytes)) as DecodedNode;
        if (input?.includes(gain)) epsilon = attribute.find(({ name }) => name === "epsilon")?.f ?? null;
      } else if (id === fieldIds.initializer) {
        const tensor = tensorProto.toObject(tensorProto.decode(bytes)) as DecodedTensor;
        if (tensor.name === gain) place = placeOf(tensor);
      }
    }
  }
  return epsilon === null || place === null ? null : { epsilon, gain: place };
}

/** Of a message in bytes, the fields that are messages, texts or bytes, as they are. */
function fieldsOf(message: Uint8Array): readonly { readonly id: number; readonly bytes: Uint8Array }[] {
  const reader = protobuf.Reader.create(message);
  const fields: { id: number; bytes: Uint8Array }[] = [];
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    const wireType = tag & 7;
    if (wireType === 2) fields.push({ id: tag >>> 3, bytes: reader.bytes() });
    else reader.skipType(wireType);
  }
  return fields;
}

function placeOf({ rawData, externalData = [] }: DecodedTensor): OnnxInitializer["data"] {
  if (externalData.length === 0) return { kind: "inline", bytes: rawData ?? new Uint8Array() };
  const value = (wanted: string) => externalData.find(({ key }) => key === wanted)?.value ?? "";
  return { kind: "external", file: value("location"), offset: Number(value("offset")), bytes: Number(value("length")) };
}

/** A weight in a data file: two may lie at one place. */
interface ExternalWeight {
  readonly name: string;
  readonly offset: number;
  readonly bytes: number;
}

/** Which weights of an `.onnx` file's bytes lie in a data file, where, and how large they are. */
export function externalWeights(model: Uint8Array): readonly ExternalWeight[] {
  const { graph } = modelProto.toObject(modelProto.decode(model)) as {
    graph?: { initializer?: readonly DecodedTensor[] };
  };
  return (graph?.initializer ?? []).flatMap(({ name, externalData = [] }) => {
    const number = (wanted: string) => Number(externalData.find(({ key }) => key === wanted)?.value);
    return externalData.length === 0 ? [] : [{ name, offset: number("offset"), bytes: number("length") }];
  });
}

function encodeNode(node: OnnxNode): object {
  return {
    name: node.name,
    opType: node.op,
    domain: node.domain,
    input: node.inputs,
    output: node.outputs,
    attribute: Object.entries(node.attributes).map(([name, value]) => encodeAttribute(name, value)),
  };
}

function encodeAttribute(name: string, value: OnnxAttribute): object {
  if ("float" in value) return { name, type: attributeTypes.float, f: value.float };
  if ("int" in value) return { name, type: attributeTypes.int, i: value.int };
  if ("ints" in value) return { name, type: attributeTypes.ints, ints: value.ints };
  if ("graph" in value) {
    const { graph } = value;
    const g = { name: graph.name, node: graph.nodes.map(encodeNode), output: graph.outputs.map(encodeValue) };
    return { name, type: attributeTypes.graph, g };
  }
  return { name, type: attributeTypes.string, s: new TextEncoder().encode(value.string) };
}

function encodeInitializer(tensor: OnnxInitializer): object {
  const common = { name: tensor.name, dataType: dataTypes[tensor.type], dims: tensor.dims };
  if (tensor.data.kind === "inline") return { ...common, rawData: tensor.data.bytes };
  const { file, offset, bytes } = tensor.data;
  return {
    ...common,
    dataLocation: 1,
    externalData: [
      { key: "location", value: file },
      { key: "offset", value: String(offset) },
      { key: "length", value: String(bytes) },
    ],
  };
}

function encodeValue(value: OnnxValue): object {
  const dim = value.dims.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size }));
  return { name: value.name, type: { tensorType: { elemType: dataTypes[value.type], shape: { dim } } } };
}
