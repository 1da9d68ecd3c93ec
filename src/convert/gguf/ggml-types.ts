import { floatOfHalf } from "../half-float.js";
import {
  type Dequantize,
  dequantizeIQ4_NL,
  dequantizeQ4_0,
  dequantizeQ4_1,
  dequantizeQ5_0,
  dequantizeQ5_1,
  dequantizeQ8_0,
} from "./blocks-of-32.js";
import {
  dequantizeIQ4_XS,
  dequantizeQ2_K,
  dequantizeQ3_K,
  dequantizeQ4_K,
  dequantizeQ5_K,
  dequantizeQ6_K,
} from "./blocks-of-256.js";

/** How ggml stores values: blocks of so many values in so many bytes. */
export interface GgmlType {
  readonly id: number;
  /** As ggml writes it: Q4_1, IQ4_XS … */
  readonly name: string;
  readonly blockSize: number;
  readonly blockBytes: number;
  readonly dequantize: Dequantize;
}

const bits = new DataView(new ArrayBuffer(4));

/** Those that are read. */
export const ggmlTypes: readonly GgmlType[] = [
  type(0, "F32", 1, 4, (raw, at, floats, to) => {
    floats[to] = raw.getFloat32(at, true);
  }),
  type(1, "F16", 1, 2, (raw, at, floats, to) => {
    floats[to] = floatOfHalf(raw.getUint16(at, true));
  }),
  type(30, "BF16", 1, 2, (raw, at, floats, to) => {
    bits.setUint32(0, raw.getUint16(at, true) << 16);
    floats[to] = bits.getFloat32(0);
  }),
  type(2, "Q4_0", 32, 18, dequantizeQ4_0),
  type(3, "Q4_1", 32, 20, dequantizeQ4_1),
  type(6, "Q5_0", 32, 22, dequantizeQ5_0),
  type(7, "Q5_1", 32, 24, dequantizeQ5_1),
  type(8, "Q8_0", 32, 34, dequantizeQ8_0),
  type(10, "Q2_K", 256, 84, dequantizeQ2_K),
  type(11, "Q3_K", 256, 110, dequantizeQ3_K),
  type(12, "Q4_K", 256, 144, dequantizeQ4_K),
  type(13, "Q5_K", 256, 176, dequantizeQ5_K),
  type(14, "Q6_K", 256, 210, dequantizeQ6_K),
  type(20, "IQ4_NL", 32, 18, dequantizeIQ4_NL),
  type(23, "IQ4_XS", 256, 136, dequantizeIQ4_XS),
];

/** Names of those that are not, so that a refusal can name them. */
const otherNames: ReadonlyMap<number, string> = new Map([
  [9, "Q8_1"],
  [15, "Q8_K"],
  [16, "IQ2_XXS"],
  [17, "IQ2_XS"],
  [18, "IQ3_XXS"],
  [19, "IQ1_S"],
  [21, "IQ3_S"],
  [22, "IQ2_S"],
  [24, "I8"],
  [25, "I16"],
  [26, "I32"],
  [27, "I64"],
  [28, "F64"],
  [29, "IQ1_M"],
  [34, "TQ1_0"],
  [35, "TQ2_0"],
  [39, "MXFP4"],
  [40, "NVFP4"],
  [41, "Q1_0"],
]);

const byId: ReadonlyMap<number, GgmlType> = new Map(ggmlTypes.map((entry) => [entry.id, entry]));

/** The type of this number, or undefined when it is not read. */
export function ggmlType(id: number): GgmlType | undefined {
  return byId.get(id);
}

/** What to call a type in a message. */
export function ggmlTypeName(id: number): string {
  return byId.get(id)?.name ?? otherNames.get(id) ?? `of the unknown type ${id}`;
}

function type(id: number, name: string, blockSize: number, blockBytes: number, dequantize: Dequantize): GgmlType {
  return { id, name, blockSize, blockBytes, dequantize };
}
