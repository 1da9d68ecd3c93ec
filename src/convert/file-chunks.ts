import type { FileHandle } from "node:fs/promises";

/**
 * Reads a range of a file, `size` bytes at a time. Each view is valid until the next is asked for.
 * @param endsEarly makes the error for a file that is shorter.
 */
export async function* fileChunks(
  handle: FileHandle,
  { offset, bytes }: { readonly offset: number; readonly bytes: number },
  size: number,
  endsEarly: () => Error,
): AsyncGenerator<Uint8Array> {
  const buffer = new Uint8Array(Math.min(size, bytes));
  for (let done = 0; done < bytes; ) {
    const wanted = Math.min(buffer.length, bytes - done);
    let filled = 0;
    while (filled < wanted) {
      const { bytesRead } = await handle.read(buffer, filled, wanted - filled, offset + done + filled);
      if (bytesRead === 0) throw endsEarly();
      filled += bytesRead;
    }
    yield buffer.subarray(0, wanted);
    done += wanted;
  }
}
