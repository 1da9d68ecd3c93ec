import { Metrics } from "../../src/server/edge/metrics.js";
import { buildApp, question } from "../server/build-app.js";

/** The series that a server tells Prometheus of, each with its labels. */
export async function knownMetrics(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const { app, chat } = buildApp();
  // A series is told once it has been counted.
  await (await chat({ ...question, stream: true })).text();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const served = await (await app.request("/metrics")).text();
  const ofProcess = await new Metrics(() => [], { processMetrics: true }).scrape();
  const series = new Map<string, Set<string>>();
  for (const line of `${served}\n${ofProcess}`.split("\n")) {
    const [, type, kind] = /^# TYPE (\S+) (\S+)$/.exec(line) ?? [];
    if (type !== undefined) {
      const names = kind === "histogram" ? ["_bucket", "_sum", "_count"].map((end) => type + end) : [type];
      for (const name of names) if (!series.has(name)) series.set(name, new Set());
    }
    const [, name, labels] = /^(\w+)\{(.*)\} /.exec(line) ?? [];
    if (name === undefined || labels === undefined) continue;
    for (const [, label = ""] of labels.matchAll(/(\w+)="/g)) series.get(name)?.add(label);
  }
  return series;
}

/** Prometheus' own, of whatever it scrapes. */
const scraped = ["instance", "job", "namespace", "pod"];

/** @returns what a PromQL expression names and no server tells of: series, and labels that their series lack. */
export function unknownIn(expression: string, known: ReadonlyMap<string, ReadonlySet<string>>): readonly string[] {
  const names = [...expression.matchAll(/\b(?:toast_serve|process|nodejs)_\w+/g)].map(([name]) => name);
  const has = names.flatMap((name) => [...(known.get(name) ?? [])]);
  const selected = [...expression.matchAll(/(\w+) *(?:=~|!~|!=|=)/g)].map(([, label = ""]) => label);
  const grouped = [...expression.matchAll(/\b(?:by|without) *\(([^)]*)\)/g)].flatMap(([, list = ""]) =>
    list.split(/ *, */),
  );
  return [
    ...(names.length === 0 ? [`no metric in ${expression}`] : []),
    ...names.filter((name) => !known.has(name)),
    ...[...selected, ...grouped].filter((label) => ![...has, ...scraped].includes(label)),
  ];
}
