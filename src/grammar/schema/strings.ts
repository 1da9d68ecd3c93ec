import { ToastError } from "../../errors.js";
import type { Json } from "../../json-tree.js";
import { choice, type Expression, intersection, repeat } from "../expression.js";
import { textsMatching, textsWithMatch } from "../regex/parse-regex.js";
import { formats, unkeptFormats } from "./formats.js";
import { anyCharacter, inJsonString } from "./json-characters.js";
import { count, fail, type Leniency, type Schema, shown } from "./schema.js";

const maxPattern = 4_000;

/** What a schema allows between the quotes of a string. @returns null where that is anything. */
export function stringContent(schema: Schema, path: string, leniency: Leniency): Expression | null {
  const min = count(schema, "minLength", path) ?? 0;
  const max = count(schema, "maxLength", path);
  if (max !== null && max < min) return choice();
  const parts = [
    ...listed(schema, "patterns").flatMap((pattern) => patternContent(pattern, path, leniency)),
    ...listed(schema, "formats").flatMap((format) => formatContent(format, path, leniency)),
    ...(min > 0 || max !== null ? [repeat(anyCharacter, min, max)] : []),
  ];
  return parts.length === 0 ? null : intersection(...parts);
}

/** What a `pattern` allows between the quotes of a string; nothing said where it cannot be kept. */
export function patternContent(pattern: Json, path: string, leniency: Leniency): readonly Expression[] {
  if (typeof pattern !== "string") fail(path, "has a 'pattern' that is no string");
  if (pattern.length > maxPattern) fail(path, `has a 'pattern' of more than ${maxPattern} characters`);
  try {
    return [inJsonString(textsWithMatch(pattern))];
  } catch (cause) {
    if (!(cause instanceof ToastError)) throw cause;
    leniency.unsupported(path, `has a 'pattern' that cannot be kept. ${cause.message.replace(/\.$/, "")}`);
    return [];
  }
}

const contents = new Map<string, Expression>();

/** Formats that the standard does not know are notes to a reader, as it has them. */
function formatContent(format: Json, path: string, leniency: Leniency): readonly Expression[] {
  if (typeof format !== "string") fail(path, `has the 'format' ${shown(format)}, which is no string`);
  if (unkeptFormats.has(format)) leniency.unsupported(path, `has the 'format' '${format}', which is not supported`);
  const regex = formats.get(format);
  if (regex === undefined) return [];
  const content = contents.get(format) ?? inJsonString(textsMatching(regex));
  contents.set(format, content);
  return [content];
}

function listed(schema: Schema, keyword: string): readonly Json[] {
  return (schema.get(keyword) ?? []) as readonly Json[];
}
