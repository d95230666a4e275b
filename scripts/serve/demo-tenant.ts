// A tenant to try the service with, and a picture to send.
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { scopes } from "../../db/value-lists.ts";
import { run } from "./processes.ts";

export interface Demo {
  url: string;
  tenant_id: string;
  key: string;
}

/** Makes the tenant once; a key that the service does not know any more is replaced. */
export async function demoTenant(file: string, url: string, adminToken: string): Promise<Demo> {
  const known = await readFile(file, "utf8").then(
    (text) => JSON.parse(text) as Demo,
    () => undefined,
  );
  if (known) {
    const answer = await fetch(`${url}/v1/whoami`, { headers: { authorization: `Bearer ${known.key}` } });
    if (answer.ok) return known;
  }
  const post = async <T>(path: string, body: unknown): Promise<T> => {
    const headers = { authorization: `Bearer ${adminToken}`, "content-type": "application/json" };
    const answer = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`POST ${path}: ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as T;
  };
  const tenant = await post<{ id: string }>("/admin/tenants", { name: "Demo" });
  const granted = scopes.filter((scope) => scope !== "admin");
  const { key } = await post<{ key: string }>(`/admin/tenants/${tenant.id}/keys`, { name: "demo", scopes: granted });
  const demo: Demo = { url, tenant_id: tenant.id, key };
  await writeFile(file, `${JSON.stringify(demo, null, 2)}\n`, { mode: 0o600 });
  return demo;
}

/** Draws enough scenes for a first job, once; gives the path of one. */
export async function sampleImage(folder: string, python: string, root: string): Promise<string> {
  if (!existsSync(join(folder, "024.jpg"))) {
    const env = { ...process.env, PYTHONPATH: join(root, "gpu-workers") };
    const drawing = ["-m", "dico", "scenes", "--count", "24", "--seed", "4200000000", "--style", "trained"];
    await run(python, [...drawing, "--out", folder], { cwd: root, env });
  }
  return relative(process.cwd(), join(folder, "001.jpg"));
}
