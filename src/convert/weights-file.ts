import { join } from "node:path";
import type { ManifestFile } from "../model/manifest.js";
import { OutputFile } from "./output-file.js";
import { blocksOfRow, quantizeBlocks } from "./quantize/quantize-blocks.js";
import { quantizeRows, quantizeRowsCompensated } from "./quantize/quantize-rows.js";
import { floatRows } from "./row-stream.js";
import type { PlacedWeight, WeightsFile } from "./weight-layout.js";
import type { TensorRows } from "./weight-source.js";

/**
 * Writes a graph's data files one after the other, each in one pass, a chunk of rows in memory at a time.
 * @param source where `tensors` rows come from.
 * @param onBytes called with the bytes written since the last call.
 * @throws ToastError `not_finite_weights`, `corrupt_safetensors`, `corrupt_gguf`, `disk_full`, `write_failed`.
 */
export async function writeWeights(
  folder: string,
  files: readonly WeightsFile[],
  source: TensorRows,
  onBytes: (bytes: number) => void = () => {},
): Promise<ManifestFile[]> {
  const written: ManifestFile[] = [];
  for (const file of files) written.push(await writeWeightsFile(folder, file, source, onBytes));
  return written;
}

async function writeWeightsFile(
  folder: string,
  { name, weights }: WeightsFile,
  source: TensorRows,
  onBytes: (bytes: number) => void,
): Promise<ManifestFile> {
  // What quantizing a weight leaves for the weights behind it, by kind and name.
  const left = new Map<string, Float32Array | Uint8Array>();
  return OutputFile.create(join(folder, name), async (file) => {
    for (const weight of weights) {
      await file.padTo(weight.offset);
      switch (weight.source.kind) {
        case "float32":
          for await (const rows of floatRows(weight.source.rows, rowSize(weight), source)) {
            await file.append(bytesOf(rows));
            onBytes(rows.byteLength);
          }
          break;
        case "int8": {
          const [count = 0, size = 0] = weight.dims;
          const scales = new Float32Array(count);
          const spread = (await weight.source.spread?.()) ?? null;
          let done = 0;
          for await (const rows of floatRows(weight.source.rows, rowSize(weight), source)) {
            const quantized = new Int8Array(rows.length);
            const chunkScales = scales.subarray(done, done + rows.length / size);
            if (spread === null) quantizeRows(rows, size, quantized, chunkScales);
            else quantizeRowsCompensated(rows, size, spread, quantized, chunkScales);
            await file.append(bytesOf(quantized));
            onBytes(quantized.byteLength);
            done += rows.length / size;
          }
          left.set(`scales ${weight.name}`, scales);
          break;
        }
        case "int4": {
          const { size } = weight.source;
          const { codeBytes, scaleCount, zeroPointBytes } = blocksOfRow(size);
          const [count = 0] = weight.dims;
          const scales = new Float32Array(count * scaleCount);
          const zeroPoints = new Uint8Array(count * zeroPointBytes);
          const spread = (await weight.source.spread?.()) ?? null;
          let done = 0;
          for await (const rows of floatRows(weight.source.rows, rowSize(weight), source)) {
            const end = done + rows.length / size;
            const codes = new Uint8Array((end - done) * codeBytes);
            const chunkScales = scales.subarray(done * scaleCount, end * scaleCount);
            const blocks = { codes, scales: chunkScales, zeroPoints: zeroPoints.subarray(done * zeroPointBytes) };
            quantizeBlocks(rows, size, spread, blocks);
            await file.append(codes);
            onBytes(codes.byteLength);
            done = end;
          }
          left.set(`scales ${weight.name}`, scales);
          left.set(`zero_points ${weight.name}`, zeroPoints);
          break;
        }
        case "scales":
        case "zero_points": {
          const key = `${weight.source.kind} ${weight.source.of}`;
          const values = left.get(key);
          if (values === undefined) throw new Error(`${weight.name} is placed before ${weight.source.of}`);
          left.delete(key);
          await file.append(bytesOf(values));
          onBytes(values.byteLength);
        }
      }
      const end = weight.offset + weight.bytes;
      if (file.bytes !== end) throw new Error(`${weight.name} ends at byte ${file.bytes}, planned was ${end}`);
    }
  });
}

function rowSize({ dims, source }: PlacedWeight): number {
  return source.kind === "int4" ? source.size : (dims.at(-1) ?? 1);
}

function bytesOf(values: Float32Array | Int8Array | Uint8Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
