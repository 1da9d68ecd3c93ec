import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OnnxSession } from "../model/onnx-session.js";
import { OutputFile, writeError } from "./output-file.js";

/**
 * A session of a graph that has no file and no weights beside it.
 * @throws ToastError `disk_full`, `write_failed` when it cannot be put down for onnxruntime to load; `engine_failed`
 */
export async function openGraph(graph: Uint8Array): Promise<OnnxSession> {
  const prefix = join(tmpdir(), "toast-convert-");
  const folder = await mkdtemp(prefix).catch((error: unknown) => Promise.reject(writeError(prefix, error)));
  try {
    const file = join(folder, "graph.onnx");
    await OutputFile.create(file, (output) => output.append(graph));
    return await OnnxSession.load(file, {});
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
