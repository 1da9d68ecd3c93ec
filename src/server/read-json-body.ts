import { ToastError } from "../errors.js";
import { parseJsonBody } from "../openai/json-body.js";
import { type BodyRoom, tooLarge } from "./body-room.js";

/**
 * Reads a request's body, whatever its content type says: `curl -d` announces a form and means JSON.
 * Counts the bytes as they come, so that neither a false nor a missing `content-length` gets past the limit.
 * @throws ToastError as {@link readTextBody}, and `invalid_json` for what is no JSON.
 */
export async function readJsonBody(request: Request, maxBytes: number, room: BodyRoom): Promise<unknown> {
  const text = await readTextBody(request, maxBytes, room);
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

/** @throws ToastError as `BodyRoom.read`, `unsupported_encoding`, and `invalid_json` for what is not UTF-8. */
export async function readTextBody(request: Request, maxBytes: number, room: BodyRoom): Promise<string> {
  requireUncompressed(request);
  // Announced too large: answered before a byte of it is read.
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) {
    throw tooLarge(maxBytes);
  }
  return decode(await room.read(request, maxBytes));
}

/** @throws ToastError `unsupported_encoding` */
export function requireUncompressed(request: Request): void {
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding === "identity" || encoding === "") return;
  const message = `The request body is compressed (content-encoding: ${encoding.slice(0, 40)}). Send it as it is.`;
  throw new ToastError("unsupported_encoding", message);
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ToastError("invalid_json", "The request body is not valid UTF-8.", { cause });
  }
}
