// Offers a base version to every tenant of a service: `npm run publish-base -- FOLDER --url URL`,
// the operator's token in ADMIN_TOKEN. What is there already is not sent again.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";

export interface BaseManifest {
  files: { path: string; sha256: string; size: number }[];
  probe: { image: string; expected_caption: string };
}

/** @throws Error with the service's own words when it refuses. */
export async function publishBase(
  url: string,
  adminToken: string,
  folder: string,
  say: (text: string) => void,
): Promise<BaseManifest> {
  const bytes = await readFile(join(folder, "manifest.json"));
  const manifest = JSON.parse(bytes.toString()) as BaseManifest;
  const authorization = `Bearer ${adminToken}`;
  const offer = async (): Promise<Response> =>
    fetch(`${url}/admin/base_models`, {
      method: "POST",
      headers: { authorization, "content-type": "application/json" },
      body: JSON.stringify({
        manifest: bytes.toString("base64"),
        signature: (await readFile(join(folder, "manifest.json.sig"), "utf8")).trim(),
      }),
    });
  let answer = await offer();
  if (answer.status === 422 && ((await answer.clone().json()) as { code?: string }).code === "FILES_MISSING") {
    say(`publishing the base version: ${manifest.files.length} files`);
    for (const { path, sha256 } of manifest.files) {
      const body = await readFile(join(folder, path));
      const put = await fetch(`${url}/admin/files/${sha256}`, {
        method: "PUT",
        headers: { authorization, "content-type": "application/octet-stream" },
        body,
      });
      if (!put.ok) throw new Error(`${path}: ${put.status} ${await put.text()}`);
    }
    answer = await offer();
  }
  if (!answer.ok) throw new Error(`the base version was refused: ${answer.status} ${await answer.text()}`);
  return manifest;
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { url: { type: "string", default: "http://127.0.0.1:8787" } },
  });
  const token = process.env["ADMIN_TOKEN"];
  if (!token) throw new Error("set ADMIN_TOKEN to the service's administration token");
  await publishBase(values.url, token, positionals[0] ?? "models/scenes-base", console.log);
  console.log("published");
}
