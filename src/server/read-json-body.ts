import { ToastError } from "../errors.js";
import { parseJsonBody } from "../openai/json-body.js";

/**
 * Reads a request's body, whatever its content type says: `curl -d` announces a form and means JSON.
 * Counts the bytes as they come, so that neither a false nor a missing `content-length` gets past the limit.
 * @throws ToastError `body_too_large`, `unsupported_encoding`, `invalid_json`.
 */
export async function readJsonBody(request: Request, maxBytes: number): Promise<unknown> {
  const text = await readTextBody(request, maxBytes);
  if (text.trim() === "") {
    throw new ToastError("invalid_json", "The request body is empty; it must be a JSON object.");
  }
  try {
    return parseJsonBody(text);
  } catch (cause) {
    const detail = cause instanceof SyntaxError ? `: ${cause.message}` : "";
    throw new ToastError("invalid_json", `The request body is not valid JSON${detail}.`, { cause });
  }
}

/** @throws ToastError `body_too_large`, `unsupported_encoding`, and `invalid_json` for what is not UTF-8. */
export async function readTextBody(request: Request, maxBytes: number): Promise<string> {
  requireUncompressed(request);
  // Announced too large: answered before a byte of it is read.
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) {
    throw tooLarge(maxBytes);
  }
  return decode(await readBytes(request, maxBytes));
}

/** @throws ToastError `unsupported_encoding` */
export function requireUncompressed(request: Request): void {
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding === "identity" || encoding === "") return;
  const message = `The request body is compressed (content-encoding: ${encoding.slice(0, 40)}). Send it as it is.`;
  throw new ToastError("unsupported_encoding", message);
}

async function readBytes(request: Request, maxBytes: number): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = request.body?.getReader();
  for (;;) {
    const next = await reader?.read();
    if (next === undefined || next.done) {
      return Buffer.concat(chunks, length);
    }
    length += next.value.byteLength;
    if (length > maxBytes) {
      throw tooLarge(maxBytes);
    }
    chunks.push(next.value);
  }
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ToastError("invalid_json", "The request body is not valid UTF-8.", { cause });
  }
}

function tooLarge(maxBytes: number): ToastError {
  return new ToastError(
    "body_too_large",
    `The request body is larger than ${maxBytes} bytes, the limit of this server.`,
  );
}
