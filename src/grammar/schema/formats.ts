/**
 * The formats that are kept to, as regular expressions that match the whole of a string. Written from the standards
 * that JSON Schema 2020-12 names in section 7.3 of its validation vocabulary; narrower only where said.
 */
const digitPair = "[0-9]{2}";
const leapYear = `(?:${digitPair}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)`;
/** RFC 3339, section 5.6 and appendix C: the lengths of months are kept to. */
const date = [
  "(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)",
  `|02-(?:0[1-9]|1[0-9]|2[0-8]))|${leapYear}-02-29)`,
].join("");
/** Leap seconds, which are at the end of a day in UTC, in UTC only. */
const time = [
  "(?:(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])",
  "|23:59:60(?:\\.[0-9]+)?(?:[Zz]|[+-]00:00))",
].join("");
/** ISO 8601's durations of whole units, of which RFC 3339's appendix A has those that leave out no unit in between. */
const duration = [
  "P(?:[0-9]+W|(?=[0-9T])(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?",
  "(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)",
].join("");

/** RFC 1123, of at most 253 characters; the root's dot may be written. */
const label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const hostname = `(?=[^]{1,253}\\.?$)${label}(?:\\.${label})*\\.?`;
const internationalLabel =
  "[A-Za-z0-9\\u00a0-\\u{10ffff}](?:[A-Za-z0-9\\u00a0-\\u{10ffff}-]{0,61}[A-Za-z0-9\\u00a0-\\u{10ffff}])?";
const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const internationalAtom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\\u00a0-\\u{10ffff}-]+";

const octet = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";
const ipv4 = `(?:${octet}\\.){3}${octet}`;
const group = "[0-9A-Fa-f]{1,4}";
const lastGroups = `(?:${group}:${group}|${ipv4})`;
/** RFC 4291, section 2.2, in the form of RFC 3986. */
const ipv6 = `(?:${[
  `(?:${group}:){6}${lastGroups}`,
  `::(?:${group}:){5}${lastGroups}`,
  `(?:${group})?::(?:${group}:){4}${lastGroups}`,
  `(?:(?:${group}:){0,1}${group})?::(?:${group}:){3}${lastGroups}`,
  `(?:(?:${group}:){0,2}${group})?::(?:${group}:){2}${lastGroups}`,
  `(?:(?:${group}:){0,3}${group})?::${group}:${lastGroups}`,
  `(?:(?:${group}:){0,4}${group})?::${lastGroups}`,
  `(?:(?:${group}:){0,5}${group})?::${group}`,
  `(?:(?:${group}:){0,6}${group})?::`,
].join("|")})`;

/**
 * RFC 3986, appendix A, but for a scheme with nothing behind it; RFC 3987 with `beyond` ASCII.
 * @param beyond a part of a class.
 */
function resource(beyond: string): { readonly absolute: string; readonly reference: string } {
  const percent = "%[0-9A-Fa-f]{2}";
  const sign = `[A-Za-z0-9._~!$&'()*+,;=${beyond}-]`;
  const segmentSign = `(?:[A-Za-z0-9._~!$&'()*+,;=:@${beyond}-]|${percent})`;
  const authority = [
    `(?:(?:${sign}|:|${percent})*@)?`,
    `(?:\\[(?:${ipv6}|[vV][0-9A-Fa-f]+\\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\\]|(?:${sign}|${percent})*)`,
    "(?::[0-9]*)?",
  ].join("");
  const segments = `(?:/${segmentSign}*)*`;
  const rooted = `/(?:${segmentSign}+${segments})?`;
  const noColon = `(?:[A-Za-z0-9._~!$&'()*+,;=@${beyond}-]|${percent})+${segments}`;
  const tail = `(?:\\?(?:${segmentSign}|[/?])*)?(?:#(?:${segmentSign}|[/?])*)?`;
  const scheme = "[A-Za-z][A-Za-z0-9+.-]*:";
  const absolute = `${scheme}(?://${authority}${segments}|${rooted}|${segmentSign}+${segments})${tail}`;
  const relative = `(?://${authority}${segments}|${rooted}|${noColon}|)${tail}`;
  return { absolute, reference: `(?:${absolute}|${scheme}${tail}|${relative})` };
}

const uri = resource("");
/** RFC 3987's characters beyond ASCII, but for those of private use. */
const iri = resource(
  "\\u00a0-\\ud7ff\\uf900-\\ufdcf\\ufdf0-\\uffef\\u{10000}-\\u{1fffd}\\u{20000}-\\u{2fffd}\\u{30000}-\\u{3fffd}",
);
const pointer = "(?:/(?:[^~/]|~[01])*)*";
const templateName = "(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})(?:\\.?(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2}))*";
const templateVariable = `${templateName}(?::[1-9][0-9]{0,3}|\\*)?`;
const base64 = "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?";

export const formats: ReadonlyMap<string, string> = new Map([
  ["date-time", `${date}[Tt]${time}`],
  ["date", date],
  ["time", time],
  ["duration", duration],
  // RFC 5321's Mailbox, without quoted local parts and address literals, and with a domain of two labels at least.
  ["email", `${atom}(?:\\.${atom})*@${label}(?:\\.${label})+`],
  ["idn-email", `${internationalAtom}(?:\\.${internationalAtom})*@${internationalLabel}(?:\\.${internationalLabel})+`],
  ["hostname", hostname],
  ["ipv4", ipv4],
  ["ipv6", ipv6],
  ["uuid", "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"],
  ["uri", uri.absolute],
  ["uri-reference", uri.reference],
  ["iri", iri.absolute],
  ["iri-reference", iri.reference],
  // RFC 6570.
  [
    "uri-template",
    `(?:[^\\u0000- "'%<>\\\\^\`{|}]|%[0-9A-Fa-f]{2}|\\{[+#./;?&=,!@|]?${templateVariable}(?:,${templateVariable})*\\})*`,
  ],
  ["json-pointer", pointer],
  ["relative-json-pointer", `(?:0|[1-9][0-9]*)(?:#|${pointer})`],
  // OpenAPI's.
  ["byte", base64],
]);

/**
 * Formats of the standard that are no regular language, or need tables that are not here: they are refused, not passed
 * over.
 */
export const unkeptFormats: ReadonlySet<string> = new Set(["regex", "idn-hostname"]);

/** OpenAPI's formats of integers. */
export const integerFormats: ReadonlyMap<string, readonly [min: bigint, max: bigint]> = new Map([
  ["int32", [-(2n ** 31n), 2n ** 31n - 1n]],
  ["int64", [-(2n ** 63n), 2n ** 63n - 1n]],
]);
