/** One sample of a scrape. */
interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

interface Family {
  readonly type: string;
  readonly help: string;
  readonly samples: Sample[];
}

const name = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const label = `[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\\\\n]|\\\\["\\\\n])*"`;
const samplePattern = new RegExp(`^(${name})(?:\\{(${label}(?:,${label})*)\\})? (\\S+)$`);
/** What Go's ParseFloat takes, as the format says. */
const valuePattern = /^([+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?inf|nan)$/i;

/**
 * Reads Prometheus' text format 0.0.4 and takes nothing that Prometheus or its linter would not: every family has HELP and TYPE before
 * its samples, which stand together; no series comes twice; counters end in `_total` and are not negative; buckets are cumulative and
 * end at `+Inf` with the count.
 * @throws Error that names the line
 * @see https://prometheus.io/docs/instrumenting/exposition_formats/
 */
export function parsePrometheusText(text: string): ReadonlyMap<string, Family> {
  if (!text.endsWith("\n")) throw new Error("the last line has no end");
  const families = new Map<string, Family>();
  const helps = new Map<string, string>();
  const series = new Set<string>();
  let current = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const fail = (why: string): never => {
      throw new Error(`${why}: ${line}`);
    };
    if (line === "") continue;
    const comment = new RegExp(`^# (HELP|TYPE) (${name}) (.+)$`).exec(line);
    if (line.startsWith("#")) {
      const [, kind = "", family = "", rest = ""] = comment ?? fail("no HELP and no TYPE");
      if (kind === "HELP") {
        if (helps.has(family)) fail("HELP comes twice");
        helps.set(family, rest);
      } else {
        if (families.has(family)) fail("TYPE comes twice");
        if (!["counter", "gauge", "histogram", "summary"].includes(rest)) fail("unknown type");
        families.set(family, { type: rest, help: helps.get(family) ?? fail("TYPE before HELP"), samples: [] });
        current = family;
      }
      continue;
    }
    const [, sampleName = "", labelText = "", valueText = ""] = samplePattern.exec(line) ?? fail("no sample");
    if (!valuePattern.test(valueText)) fail("no value");
    const family = families.get(current) ?? fail("no TYPE before it");
    const allowed = ["histogram", "summary"].includes(family.type)
      ? ["_bucket", "_sum", "_count", ""].map((suffix) => current + suffix)
      : [current];
    if (!allowed.includes(sampleName)) fail(`not of ${current}`);
    const key = `${sampleName}{${labelText.split(",").toSorted().join(",")}}`;
    if (series.has(key)) fail("the series comes twice");
    series.add(key);
    family.samples.push({ name: sampleName, labels: labelsOf(labelText), value: numberOf(valueText) });
  }
  for (const [family, content] of families) checkFamily(family, content);
  return families;
}

function labelsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key = "", value = ""]) => [
      key,
      value.replace(/\\(.)/g, (_, escaped: string) => (escaped === "n" ? "\n" : escaped)),
    ]),
  );
}

function numberOf(text: string): number {
  return /inf$/i.test(text) ? Number(text.replace(/inf$/i, "Infinity")) : Number(text);
}

function checkFamily(family: string, { type, samples }: Family): void {
  if (type !== "counter" && family.endsWith("_total")) throw new Error(`${family} is no counter`);
  if (type === "counter") {
    if (!family.endsWith("_total")) throw new Error(`the counter ${family} does not end in _total`);
    if (samples.some(({ value }) => !(value >= 0))) throw new Error(`the counter ${family} is negative`);
  }
  if (type !== "histogram") return;
  const groups = new Map<string, { bound: number; value: number }[]>();
  const boundOf = ({ le = "none" }: Readonly<Record<string, string>>) => numberOf(le);
  const others = ({ le: _, ...labels }: Readonly<Record<string, string>>) => JSON.stringify(labels);
  for (const { name: sample, labels, value } of samples) {
    if (!sample.endsWith("_bucket")) continue;
    const group = groups.get(others(labels)) ?? [];
    group.push({ bound: boundOf(labels), value });
    groups.set(others(labels), group);
  }
  for (const [labels, buckets] of groups) {
    const rising = buckets.every(
      ({ bound, value }, index) =>
        index === 0 || (bound > (buckets[index - 1]?.bound ?? 0) && value >= (buckets[index - 1]?.value ?? 0)),
    );
    if (!rising) throw new Error(`the buckets of ${family} ${labels} do not rise`);
    const count = samples.find(
      ({ name: sample, labels: own }) => sample === `${family}_count` && others(own) === labels,
    );
    const last = buckets.at(-1);
    if (last?.bound !== Number.POSITIVE_INFINITY || last.value !== count?.value) {
      throw new Error(`${family} ${labels} does not end at +Inf with its count`);
    }
    if (!samples.some(({ name: sample, labels: own }) => sample === `${family}_sum` && others(own) === labels)) {
      throw new Error(`${family} ${labels} has no sum`);
    }
  }
}
