import { beforeAll, describe, expect, it } from "vitest";
import { deployed } from "./deployed-files.js";
import { knownMetrics, unknownIn } from "./known-metrics.js";

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: { readonly expr: string; readonly legendFormat: string }[];
}

const { panels, templating } = JSON.parse(deployed("grafana/toast-serve.json")) as {
  panels: Panel[];
  templating: { list: { name: string }[] };
};
let known: Awaited<ReturnType<typeof knownMetrics>>;
beforeAll(async () => {
  known = await knownMetrics();
});

describe("the dashboard", () => {
  const targets = panels.flatMap(({ title, targets = [] }) => targets.map((target) => ({ title, ...target })));

  it("is held against metrics that are there", () => {
    expect(known.size).toBeGreaterThan(30);
    expect(known.get("toast_serve_time_to_first_token_seconds_bucket")).toEqual(new Set(["le", "model_name"]));
    expect(unknownIn('rate(toast_serve_tokens_total{mood="good"}[5m])', known)).toEqual([
      "toast_serve_tokens_total",
      "mood",
    ]);
    expect(unknownIn("sum by (mood) (toast_serve_forwards_total)", known)).toEqual(["mood"]);
  });

  it.each(targets)("$title: $expr names metrics and labels that exist", ({ expr, legendFormat }) => {
    expect(unknownIn(expr, known)).toEqual([]);
    const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label);
    // What is not summed away can be told.
    for (const label of labels) expect(label === "instance" || expr.includes(`${label}`)).toBe(true);
  });

  it("tells of every metric of ours", () => {
    const shown = targets.map(({ expr }) => expr).join("\n");
    const ours = [...known.keys()].filter((name) => /^toast_serve_(?!.*_(sum|count)$)/.test(name));
    expect(ours.filter((name) => !shown.includes(name))).toEqual([]);
  });

  it("knows its variables, and has its panels side by side", () => {
    const names = templating.list.map(({ name }) => name);
    const used = [...deployed("grafana/toast-serve.json").matchAll(/\$\{?(?!__)(\w+)/g)].map(([, name]) => name);
    expect(new Set(used)).toEqual(new Set(names));
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const [at, { gridPos: a }] of panels.entries()) {
      expect(a.x + a.w).toBeLessThanOrEqual(24);
      for (const { gridPos: b } of panels.slice(at + 1)) {
        expect(a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y).toBe(true);
      }
    }
  });
});
