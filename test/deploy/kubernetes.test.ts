import { readdirSync } from "node:fs";
import { join } from "node:path";
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/ServiceMonitor";
import { Deployment, type IDeployment } from "kubernetes-models/apps/v1/Deployment";
import {
  HorizontalPodAutoscaler,
  type IHorizontalPodAutoscaler,
} from "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler";
import { type INetworkPolicy, NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { type IPodDisruptionBudget, PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { type IService, Service } from "kubernetes-models/v1/Service";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { packageFolder } from "../../src/package.js";
import { routes } from "../../src/server/routes.js";
import { deployed, drainSeconds, image, unknownSettings } from "./deployed-files.js";
import { knownMetrics } from "./known-metrics.js";

const read = (file: string): unknown => parse(deployed(`kubernetes/${file}`));

/** Each with the schema that the cluster holds it to. */
const manifests = {
  "deployment.yaml": Deployment,
  "service.yaml": Service,
  "disruption-budget.yaml": PodDisruptionBudget,
  "network-policy.yaml": NetworkPolicy,
  "watch/autoscaler.yaml": HorizontalPodAutoscaler,
  "watch/service-monitor.yaml": ServiceMonitor,
} as const;
const deployment = read("deployment.yaml") as IDeployment;
const pod = deployment.spec?.template.spec;
const container = pod?.containers[0];
const labels = deployment.spec?.template.metadata?.labels ?? {};

/** @returns the object, and the paths of it that somebody has looked at: what its validator knows, once it is done. */
function watchReads(object: object): readonly [object, ReadonlySet<string>] {
  const reads = new Set<string>();
  const watch = (value: object, path: string): object =>
    new Proxy(value, {
      get(target, key) {
        const read: unknown = Reflect.get(target, key);
        const place = `${path}/${String(key)}`;
        reads.add(place);
        return typeof read === "object" && read !== null ? watch(read, place) : read;
      },
    });
  return [watch(object, ""), reads];
}

function keysOf(value: object, path = ""): readonly string[] {
  return Object.entries(value).flatMap(([key, own]: [string, unknown]) => {
    const place = `${path}/${key}`;
    return [place, ...(typeof own === "object" && own !== null ? keysOf(own, place) : [])];
  });
}

describe("the manifests for Kubernetes", () => {
  it.each(Object.entries(manifests))("%s keeps to its schema, and has no key that the schema lacks", (file, Kind) => {
    const { apiVersion, kind, spec } = read(file) as { apiVersion: string; kind: string; spec: object };
    const unknownKeys = (watched: object) => {
      const [object, reads] = watchReads(watched);
      const manifest = new Kind({ ...(read(file) as object), spec: {} } as never);
      Object.assign(manifest, { spec: object });
      expect([apiVersion, kind]).toEqual([manifest.apiVersion, manifest.kind]);
      manifest.validate();
      return keysOf(watched).filter((key) => !reads.has(key));
    };
    expect(unknownKeys(spec)).toEqual([]);
    expect(unknownKeys({ ...spec, podz: 1 })).toEqual(["/podz"]);
  });

  it("are all that the folder has, and named by a kustomization", () => {
    const folder = join(packageFolder, "deploy", "kubernetes");
    const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".yaml"));
    const listed = ["", "watch/"].flatMap((place) => {
      const { resources } = read(`${place}kustomization.yaml`) as { resources: string[] };
      return resources.filter((name) => name !== "..").map((name) => place + name);
    });
    const others = files.filter((name) => !name.endsWith("kustomization.yaml"));
    expect(new Set(listed)).toEqual(new Set(others));
    expect(new Set(Object.keys(manifests))).toEqual(new Set(others));
  });

  it("start the server with settings that it knows, and keys out of a secret", () => {
    const { args = [], env = [] } = container ?? {};
    expect(
      unknownSettings(
        args,
        env.map(({ name }) => name),
      ),
    ).toEqual([]);
    expect(unknownSettings(["serve", "--dran-seconds"], ["API_KEY"])).toEqual(["dran-seconds", "API_KEY"]);
    for (const { valueFrom } of env) expect(valueFrom?.secretKeyRef?.name).toBe("toast-serve");
    expect(container?.resources?.requests).toMatchObject({ cpu: args[args.indexOf("--threads") + 1] });
  });

  it("probe paths that anybody may ask, at the port that the image listens on", () => {
    expect(container?.ports?.map(({ containerPort }) => containerPort)).toEqual([image.port]);
    const probes = [container?.startupProbe, container?.readinessProbe, container?.livenessProbe];
    expect(probes.map((probe) => probe?.httpGet?.path)).toEqual(["/readyz", "/readyz", "/livez"]);
    for (const probe of probes) {
      expect(routes.find(({ path }) => path === probe?.httpGet?.path)?.access).toBe("open");
      expect(probe?.httpGet?.port).toBe(container?.ports?.[0]?.name);
    }
  });

  it("let a running answer end before the pod is killed", () => {
    const pause = Number(/, (\d+)\)/.exec(container?.lifecycle?.preStop?.exec?.command?.[2] ?? "")?.[1]) / 1000;
    expect(pause).toBeGreaterThan(0);
    expect(pod?.terminationGracePeriodSeconds).toBeGreaterThan(pause + drainSeconds(container?.args ?? []));
  });

  it("leave nothing to be written but what the image writes, by a user without rights", () => {
    expect(container?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    });
    expect([pod?.securityContext?.runAsNonRoot, pod?.securityContext?.runAsUser]).toEqual([true, 1000]);
    const mounts = container?.volumeMounts ?? [];
    expect(mounts.map(({ mountPath }) => mountPath)).toEqual([...image.writable, "/tmp"]);
    expect(pod?.volumes?.map(({ name }) => name)).toEqual(mounts.map(({ name }) => name));
  });

  it("mean the same pods", () => {
    const service = read("service.yaml") as IService;
    const budget = read("disruption-budget.yaml") as IPodDisruptionBudget;
    const policy = read("network-policy.yaml") as INetworkPolicy;
    const monitor = read("watch/service-monitor.yaml") as { spec: { selector: { matchLabels: object } } };
    for (const selected of [
      deployment.spec?.selector.matchLabels,
      service.spec?.selector,
      service.metadata?.labels,
      budget.spec?.selector?.matchLabels,
      policy.spec?.podSelector?.matchLabels,
      monitor.spec.selector.matchLabels,
    ]) {
      expect(selected).toEqual(labels);
    }
    expect(service.spec?.ports?.[0]?.targetPort).toBe(container?.ports?.[0]?.name);
  });

  it("have Prometheus read what the server tells, and the autoscaler go by a metric of it", async () => {
    const { spec } = read("watch/autoscaler.yaml") as IHorizontalPodAutoscaler;
    expect(spec?.scaleTargetRef.name).toBe(deployment.metadata?.name);
    const name = spec?.metrics?.[0]?.pods?.metric.name ?? "";
    expect((await knownMetrics()).has(name)).toBe(true);
    const monitor = read("watch/service-monitor.yaml") as { spec: { endpoints: { path: string }[] } };
    expect(routes.map(({ path }) => path)).toContain(monitor.spec.endpoints[0]?.path);
  });
});
