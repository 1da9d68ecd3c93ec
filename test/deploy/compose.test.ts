import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { deployed, drainSeconds, image, unknownSettings } from "./deployed-files.js";

describe("the compose file", () => {
  interface Service {
    readonly read_only?: boolean;
    readonly command?: string[];
    readonly environment?: Record<string, string>;
    readonly volumes?: string[];
    readonly ports?: string[];
    readonly stop_grace_period?: string;
  }
  const compose = parse(deployed("compose/compose.yaml")) as {
    services: Record<"toast-serve" | "postgres" | "prometheus" | "grafana", Service>;
    volumes: Record<string, null>;
  };

  it("has the server write to volumes alone, as the image has it", () => {
    const { read_only, volumes = [] } = compose.services["toast-serve"];
    expect(read_only).toBe(true);
    expect(volumes.map((volume) => volume.split(":")[1])).toEqual(image.writable);
  });

  it("starts the server with settings that it knows, at the port that the image listens on", () => {
    const { command = [], environment = {}, ports = [] } = compose.services["toast-serve"];
    expect(unknownSettings(command, Object.keys(environment))).toEqual([]);
    expect(ports.map((port) => port.split(":").at(-1))).toEqual([String(image.port)]);
  });

  it("opens ports to this machine alone, and has no password in it", () => {
    const services = Object.values(compose.services);
    const ports = services.flatMap(({ ports = [] }) => ports);
    expect(ports).toHaveLength(3);
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
    const secrets = services.flatMap(({ environment = {} }) =>
      Object.entries(environment).filter(([name]) => /PASSWORD|KEYS|URL/.test(name)),
    );
    expect(secrets.length).toBeGreaterThan(3);
    for (const [, value] of secrets) expect(value).toMatch(/\$\{\w+:\?/);
  });

  it("gives an answer that runs the time that the server gives it", () => {
    const { command = [], stop_grace_period = "" } = compose.services["toast-serve"];
    const grace = Number(/^(\d+)s$/.exec(stop_grace_period)?.[1]);
    expect(grace).toBeGreaterThan(drainSeconds(command));
  });

  it("has Prometheus scrape the server, and Grafana read Prometheus and the dashboard", () => {
    const { scrape_configs } = parse(deployed("compose/prometheus.yaml")) as {
      scrape_configs: { static_configs: { targets: string[] }[] }[];
    };
    expect(scrape_configs[0]?.static_configs[0]?.targets).toEqual([`toast-serve:${image.port}`]);
    const { volumes = [] } = compose.services.grafana;
    const { providers } = parse(deployed("compose/grafana/provisioning/dashboards/toast-serve.yaml")) as {
      providers: { options: { path: string } }[];
    };
    expect(volumes).toContain(`../grafana:${providers[0]?.options.path}:ro`);
  });
});
