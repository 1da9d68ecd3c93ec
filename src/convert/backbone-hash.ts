import { createHash } from "node:crypto";

/** Tensors as they are stored: safetensors, or GGUF with its types and its order of dimensions. */
export interface StoredTensors<Tensor extends StoredTensor> {
  readonly tensors: Iterable<Tensor>;
  rawChunks(tensor: Tensor): AsyncIterable<Uint8Array>;
}

interface StoredTensor {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
}

/**
 * Which frozen weights an adapter was made for: sha256 (hex) over a model's tensors, however they are spread over
 * files.
 *
 * Tensors go in by name (order of the UTF-8 bytes), each as name, 0x00, dtype as safetensors or ggml writes it, 0x00,
 * dimensions joined by "," as the file has them (in GGUF a row's length first), 0x00, and its raw little-endian bytes.
 * Training (scripts/toast/hashing.py) computes the same.
 *
 * @param onBytes called with the bytes hashed since the last call.
 */
export async function backboneHash<Tensor extends StoredTensor>(
  source: StoredTensors<Tensor>,
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
