import { writeFileSync } from "node:fs";

export type FloatDtype = "F32" | "F16" | "BF16";
export interface PlainTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What the values become once they are stored as `dtype`. */
export function roundTo(dtype: FloatDtype, values: Float32Array): Float32Array {
  return dtype === "F32" ? values : decode(dtype, encode(dtype, values));
}

/** The bytes of a safetensors file; `entries` may bend the header, for files that are wrong on purpose. */
export function safetensorsBytes(
  tensors: Readonly<Record<string, PlainTensor>>,
  dtype: FloatDtype = "F32",
  bend: (header: Record<string, unknown>) => Record<string, unknown> = (header) => header,
): Buffer {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let offset = 0;
  for (const [name, { shape, values }] of Object.entries(tensors)) {
    const bytes = encode(dtype, values);
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    parts.push(bytes);
    offset += bytes.length;
  }
  return withHeader(JSON.stringify(bend(header)), Buffer.concat(parts));
}

export function withHeader(header: string, data: Uint8Array): Buffer {
  const text = Buffer.from(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, data]);
}

export function writeSafetensors(
  file: string,
  tensors: Readonly<Record<string, PlainTensor>>,
  dtype: FloatDtype = "F32",
): void {
  writeFileSync(file, safetensorsBytes(tensors, dtype));
}

function encode(dtype: FloatDtype, values: Float32Array): Uint8Array {
  if (dtype === "F32") return new Uint8Array(values.slice().buffer);
  const bits = new Uint32Array(values.slice().buffer);
  const halves = dtype === "BF16" ? bits.map((b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16) : values.map(halfBits);
  return new Uint8Array(Uint16Array.from(halves).buffer);
}

function decode(dtype: "F16" | "BF16", bytes: Uint8Array): Float32Array {
  const halves = new Uint16Array(bytes.buffer);
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  return Float32Array.from(halves, (half) => {
    const exponent = (half >> 10) & 31;
    const fraction = half & 1023;
    const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    return half & 0x8000 ? -magnitude : magnitude;
  });
}

/** Half-precision bits of a value within ±65504, rounded to nearest, or of an infinity. */
function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(magnitude || 2 ** -24)));
  const steps = Math.round(magnitude / 2 ** (exponent - 10));
  // A full 1024 steps is the hidden bit: adding them to the exponent field carries as it should.
  return sign | (exponent === -14 && steps < 1024 ? steps : ((exponent + 14) << 10) + steps);
}
