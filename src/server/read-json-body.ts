import type { Context } from "hono";
import { ToastError } from "../errors.js";
import { parseJsonBody } from "../openai/json-body.js";
import { type BodyRoom, tooLarge } from "./body-room.js";
import type { RequestEnvironment } from "./request-environment.js";
import { Turns } from "./turns.js";

/** A body that is read and checked in a millisecond or two. */
const shortBytes = 64 * 1024;
/** Of the others, one after the other. */
const turns = new Turns();

/**
 * Reads a request's body, whatever its content type says: `curl -d` announces a form and means JSON.
 * Counts the bytes as they come, so that neither a false nor a missing `content-length` gets past the limit.
 * @throws ToastError as {@link readTextBody}, `invalid_json` for what is no JSON, `body_too_large` for more of it than
 *   is taken.
 */
export async function readJsonBody(
  context: Context<RequestEnvironment>,
  maxBytes: number,
  room: BodyRoom,
): Promise<unknown> {
  const text = await readTextBody(context, maxBytes, room);
  if (text.trim() === "") {
    throw new ToastError("invalid_json", "The request body is empty; it must be a JSON object.");
  }
  try {
    return parseJsonBody(text);
  } catch (cause) {
    if (cause instanceof ToastError) throw cause;
    const detail = cause instanceof SyntaxError ? `: ${cause.message}` : "";
    throw new ToastError("invalid_json", `The request body is not valid JSON${detail}.`, { cause });
  }
}

/** @throws ToastError as `BodyRoom.read`, `unsupported_encoding`, and `invalid_json` for what is not UTF-8. */
export async function readTextBody(
  context: Context<RequestEnvironment>,
  maxBytes: number,
  room: BodyRoom,
): Promise<string> {
  const request = context.req.raw;
  requireUncompressed(request);
  // Announced too large: answered before a byte of it is read.
  if (Number(request.headers.get("content-length") ?? 0) > maxBytes) {
    throw tooLarge(maxBytes);
  }
  const bytes = await room.read(request, maxBytes, context.env?.incoming);
  if (bytes.byteLength > shortBytes) await turns.next();
  return decode(bytes);
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
