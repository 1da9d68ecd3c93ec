import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { packageFolder } from "../src/package.js";
import { allSettings } from "../src/settings/serve-config.js";

interface Container {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
  readonly securityContext: object;
  readonly resources: object;
}

it("the example for Kubernetes keeps what is stored, has bounds and few rights, and says nothing that is no setting", () => {
  const text = readFileSync(join(packageFolder, "docs", "operating.md"), "utf8");
  const [, source = ""] = /## In Kubernetes\n\n```yaml\n([\s\S]*?)```/.exec(text) ?? [];
  const [claim, deployment] = parseAllDocuments(source).map((document) => {
    expect(document.errors).toEqual([]);
    return document.toJS() as unknown;
  });
  expect(deployment).toMatchObject({
    kind: "Deployment",
    spec: {
      replicas: 1,
      strategy: { type: "Recreate" },
      template: { spec: { securityContext: { runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000 } } },
    },
  });
  const spec = (
    deployment as { spec: { template: { spec: { containers: [Container]; volumes: { name: string }[] } } } }
  ).spec.template.spec;
  const [{ args, env, volumeMounts, securityContext, resources }] = spec.containers;
  expect(securityContext).toMatchObject({ allowPrivilegeEscalation: false, readOnlyRootFilesystem: true });
  expect(resources).toMatchObject({ requests: { memory: expect.any(String) }, limits: { memory: expect.any(String) } });
  const namesOf = (named: readonly { readonly name: string }[]) => new Set(named.map(({ name }) => name));
  expect(namesOf(spec.volumes)).toEqual(namesOf(volumeMounts));
  // What is kept lies on the claim.
  expect(spec.volumes).toContainEqual({
    name: "data",
    persistentVolumeClaim: { claimName: (claim as { metadata: { name: string } }).metadata.name },
  });
  const kept = volumeMounts.find(({ name }) => name === "data")?.mountPath;
  expect(env.find(({ name }) => name === "DATA_DIR")?.value).toBe(kept);
  for (const { name } of env) expect(allSettings.map(({ variable }) => variable)).toContain(name);
  for (const word of args.filter((one) => one.startsWith("--"))) {
    expect(allSettings.map(({ flag }) => `--${flag}`)).toContain(word);
  }
});
