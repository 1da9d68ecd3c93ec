import { DrizzleQueryError } from "drizzle-orm";
import { isDiskFull } from "../../disk-full.js";
import { ToastError } from "../../errors.js";

/**
 * What a failing store is told as. Drizzle's errors hold the statement and its parameters, and Postgres' hold rows:
 * prompts and answers, which belong neither into a response nor into a log. So nothing that a driver threw goes on as
 * it is: a client gets a sentence that names the store by its role, the log a cause with code, message and stack.
 */

type Fault = "full" | "forbidden" | "locked" | "damaged" | "away" | "failing";

/** @param error whatever was thrown while a data folder was opened, read or written. */
export function folderFault(error: unknown): Error {
  if (error instanceof ToastError) return error;
  const driver = driverErrorOf(error);
  const fault = folderFaultOf(driver);
  if (fault === null) return new Error("The arena's store refused a statement.", { cause: causeOf(driver) });
  return new ToastError("store_failed", `The arena's data folder (in --data-dir) ${folderSentences[fault]}`, {
    cause: causeOf(driver),
  });
}

/** @param error whatever was thrown while a Postgres server was asked. */
export function postgresFault(error: unknown): Error {
  if (error instanceof ToastError) return error;
  const driver = driverErrorOf(error);
  const fault = postgresFaultOf(codeOf(driver));
  if (fault === null) return new Error("The arena's database refused a statement.", { cause: causeOf(driver) });
  return new ToastError("store_failed", `The arena's database (DATABASE_URL) ${postgresSentences[fault]}`, {
    cause: causeOf(driver),
  });
}

const folderSentences: Readonly<Record<Exclude<Fault, "away">, string>> = {
  full: "is on a full disk: nothing was stored. Free some space there, then try again.",
  forbidden:
    "cannot be written: nothing was stored. Let the server's user write there, or name another --data-dir, then try again.",
  locked: "is being written by another process for longer than is waited: nothing was stored. Try again.",
  damaged:
    "holds a damaged database: nothing was stored. Restore battles.sqlite from a backup, or move it away to begin anew.",
  // Quotas and limits are no full disk to SQLite, but failed writes.
  failing:
    "cannot be read or written, and the disk, or the share of it that the server's user has, may be full: nothing was stored. The server's log names the cause.",
};

/** @see https://www.sqlite.org/rescode.html: the low byte is the kind, what is above it says more. */
function folderFaultOf(error: unknown): Exclude<Fault, "away"> | null {
  const number = sqliteCodeOf(error);
  if (number === null) {
    const code = codeOf(error);
    if (isDiskFull(error)) return "full";
    return ["EROFS", "EACCES", "EPERM", "ENOTDIR", "EEXIST"].includes(code) ? "forbidden" : "failing";
  }
  switch (number & 0xff) {
    case 13:
      return "full";
    // May not, read-only, cannot be opened, not authorized.
    case 3:
    case 8:
    case 14:
    case 23:
      return "forbidden";
    case 5:
    case 6:
    case 15:
      return "locked";
    case 11:
    case 26:
      return "damaged";
    // Our own statements are at fault, not the folder: errors, size, constraints, types, misuse, range.
    case 1:
    case 18:
    case 19:
    case 20:
    case 21:
    case 25:
      return null;
    default:
      return "failing";
  }
}

/** libsql has no name for some extended codes, and puts that of a failed opening into the message alone. */
function sqliteCodeOf(error: unknown): number | null {
  if (!(error instanceof Error)) return null;
  if ("rawCode" in error && typeof error.rawCode === "number") return error.rawCode;
  const opening = /^ConnectionFailed\(.*: (\d+)"\)$/.exec(error.message)?.[1];
  return opening === undefined ? null : Number(opening);
}

const postgresSentences: Readonly<Record<Exclude<Fault, "damaged">, string>> = {
  full: "is on a full disk: nothing was stored. Free some space there, then try again.",
  forbidden: "cannot be written: nothing was stored. Name a server and a user that may write, then try again.",
  locked: "is locked for longer than is waited: nothing was stored. Try again.",
  away: "cannot be reached: nothing was stored. Try again once it is back.",
  failing: "cannot be used: nothing was stored. The server's log names the cause.",
};

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
function postgresFaultOf(code: string): Exclude<Fault, "damaged"> | null {
  if (code === "53100") return "full";
  if (code === "25006" || code === "42501") return "forbidden";
  if (code === "55P03" || code === "57014" || code === "40P01" || code === "40001") return "locked";
  if (/^(08|57P|53)/.test(code)) return "away";
  if (/^(22|23|42)/.test(code)) return null;
  // Node's own codes, and pg's errors, which have none: a connection that was cut, an answer that did not come.
  return code === "" || /^E[A-Z]/.test(code) ? "away" : "failing";
}

function driverErrorOf(error: unknown): unknown {
  return error instanceof DrizzleQueryError ? driverErrorOf(error.cause) : error;
}

function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return typeof code === "string" ? code : "";
}

/** @returns an error with what a log may show: code and message, neither statement nor values. */
function causeOf(error: unknown): Error {
  if (!(error instanceof Error)) return new Error(`Something was thrown that is no error (${typeof error}).`);
  const code = codeOf(error);
  // Postgres quotes values where data are at fault, a row where a constraint is.
  const message = /^(22|23)/.test(code) ? "the data were refused" : error.message;
  const cause = new Error([code, message].filter((part) => part !== "").join(": "));
  // The first lines of a stack are the message.
  const frames = (error.stack ?? "").split("\n").filter((line) => /^\s+at /.test(line));
  cause.stack = [`Error: ${cause.message}`, ...frames].join("\n");
  return cause;
}
