import { createHash } from "node:crypto";
import type { SafetensorsReader } from "./safetensors-reader.js";

/**
 * Which frozen weights an adapter was made for: sha256 (hex) over a folder's tensors, however they are spread over files.
 *
 * Tensors go in by name (order of the UTF-8 bytes), each as name, 0x00, dtype as safetensors writes it, 0x00, dimensions
 * joined by ",", 0x00, and its raw little-endian bytes. Training (scripts/toast/hashing.py) computes the same.
 *
 * @param onBytes called with the bytes hashed since the last call.
 */
export async function backboneHash(
  source: SafetensorsReader,
  onBytes: (bytes: number) => void = () => {},
): Promise<string> {
  const hash = createHash("sha256");
  const named = Array.from(source.tensors, (tensor) => ({ tensor, key: Buffer.from(tensor.name, "utf8") }));
  named.sort((a, b) => Buffer.compare(a.key, b.key));
  for (const { tensor, key } of named) {
    hash.update(key).update(`\0${tensor.dtype}\0${tensor.shape.join(",")}\0`);
    for await (const chunk of source.rawChunks(tensor)) {
      hash.update(chunk);
      onBytes(chunk.length);
    }
  }
  return hash.digest("hex");
}
