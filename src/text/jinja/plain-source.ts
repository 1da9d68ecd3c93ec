import { scopeName } from "./evaluate.js";
import { TemplateError } from "./values.js";

/** `{{ … }}`, `{% … %}`, `{# … #}`: the first two with texts in quotes, which may hold what ends them. */
const tag =
  /\{#[\s\S]*?#\}|\{\{(?:[^"'}]|\}(?!\})|"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*')*\}?\}\}|\{%(?:[^"'%]|%(?!\})|"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*')*%\}/g;

/** Texts in quotes, or what stands between them. */
const quotedOrNot = /"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|[^"']+/g;

/**
 * What the vendor's grammar does not know, in words that it does: line ends of Windows, `{% raw %}`, `{% with %}`,
 * `{% generation %}`, `{%+`, numbers such as 1e3, tests with arguments.
 * @throws TemplateError for what has no such words
 */
export function plainSource(source: string): string {
  return withoutRaw(source.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n")).replace(tag, (whole) => {
    if (whole.startsWith("{#")) return whole;
    if (whole.startsWith("{{")) return whole.replace(quotedOrNot, plainExpression);
    return plainStatement(whole);
  });
}

/** Jinja's lexer takes blanks from a line's start in front of a block off, and the first newline behind `endraw`. */
function withoutRaw(source: string): string {
  const raw = /(^[ \t]*)?\{%([-+]?)\s*raw\s*(-?)%\}(\n?)([\s\S]*?)(?:(\n)([ \t]*))?\{%([-+]?)\s*endraw\s*([-+]?)%\}/gm;
  return source.replace(
    raw,
    (
      _,
      indent = "",
      open: string,
      inner: string,
      newline: string,
      body: string,
      lineEnd = "",
      tail = "",
      close: string,
      outer: string,
    ) => {
      let text = newline + body + lineEnd + (close === "+" || lineEnd === "" ? tail : "");
      if (inner === "-") text = text.trimStart();
      if (close === "-") text = text.trimEnd();
      const before = open === "+" ? indent : "";
      // A block takes the newline behind it along, and an expression does not: it stands as one in front of a comment.
      return `${before}{{${open === "-" ? "-" : ""} ${JSON.stringify(text)} }}${outer === "-" ? "{#- -#}" : "{##}"}`;
    },
  );
}

function plainStatement(whole: string): string {
  const match = /^\{%([-+]?)\s*(\w+)([\s\S]*?)([-+]?)%\}$/.exec(whole);
  if (match === null) return whole;
  const [, open = "", name = "", rest = "", close = ""] = match;
  const body = rest.replace(quotedOrNot, plainExpression);
  // `+` keeps the blanks in front of a block: something stands between them and it.
  const before = open === "+" ? "{{ '' }}{%" : `{%${open}`;
  const after = close === "-" ? "-%}" : "%}";
  // What an assistant said, for who trains: a scope like any other.
  if (name === "with" || name === "generation") return withScope(before, body, after);
  if (name === "endwith" || name === "endgeneration") return `${before} endfor ${after}`;
  if (name === "for" && /\srecursive\s*$/.test(body)) throw new TemplateError("recursive loops are not supported");
  return `${before} ${name}${body}${after}`;
}

/** A scope is a loop that is gone through once, without being one for the names in it. */
function withScope(before: string, assignments: string, after: string): string {
  const parts = splitAtCommas(assignments);
  const sets = parts.map((part, at) => `{%- set ${part.trim()} ${at === parts.length - 1 ? after : "-%}"}`);
  const head = `${before} for ${scopeName} in [0] `;
  return sets.length === 0 ? `${head}${after}` : `${head}-%}${sets.join("")}`;
}

function splitAtCommas(list: string): readonly string[] {
  const parts: string[] = [""];
  let depth = 0;
  for (const [piece] of list.matchAll(/"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\[\s\S])*'|[\s\S]/g)) {
    if (/^[([{]$/.test(piece)) depth++;
    if (/^[)\]}]$/.test(piece)) depth--;
    if (piece === "," && depth === 0) parts.push("");
    else parts[parts.length - 1] += piece;
  }
  return parts.filter((part) => part.trim() !== "");
}

function plainExpression(piece: string): string {
  if (/^["']/.test(piece)) return piece;
  // Tests take arguments only in the guise of filters.
  const tests = piece
    .replace(
      /\bis\s+(not\s+)?(\w+)\s*\(/g,
      (_, not, name: string) => `| is${not === undefined ? "" : "_not"}__${name}(`,
    )
    .replace(
      /\bis\s+(not\s+)?(divisibleby|sameas|eq|equalto|ne|lt|le|gt|ge|in)\s+(-?[\w.]+)/g,
      (_, not, name: string, of: string) => `| is${not === undefined ? "" : "_not"}__${name}(${of})`,
    );
  return tests.replace(
    /(?<![\w.])(\d[\d_]*)(\.\d+)?(?:[eE]([+-]?\d+))?(?!\w)/g,
    (whole, ...[integer, fraction, exponent]: string[]) => {
      if (exponent === undefined) return (integer ?? "").replaceAll("_", "") + (fraction ?? "");
      const value = Number(whole.replaceAll("_", ""));
      return Number.isInteger(value) ? `${BigInt(value)}.0` : value.toFixed(20).replace(/0+$/, "");
    },
  );
}
