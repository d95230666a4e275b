import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { sha256Hex } from "../../captioner/digest.ts";
import type { Alias, AliasMove, Model, Version, VersionSummary } from "../../edge/contract/models.ts";
import { rateImages, runJob, sign, type MadeVersion } from "./fine-tune/loop.ts";
import {
  adminToken,
  ask,
  call,
  captionProbe,
  makeTenant,
  publishBase,
  refused,
  versionFile,
  type TestTenant,
} from "./harness.ts";

interface List<Item> {
  data: Item[];
  has_more: boolean;
  next_cursor: string | null;
}

const root = "/v1/models/scenes";
const production = `${root}/aliases/production`;
const absent = "ver_000000000000000000000000";

describe("models, versions and aliases", () => {
  let tenant: TestTenant;
  let key: string;
  let base: string;
  let first: MadeVersion;
  let second: MadeVersion;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
    await rateImages(key, 20);
    base = (await captionProbe(key)).version;
    first = (await runJob(tenant, { seed: 1 })).made;
    second = (await runJob(tenant, { seed: 2 })).made;
  });

  function move(version: string, ifMatch: string, more: object = {}): Promise<Alias> {
    return ask<Alias>(200, "PUT", production, { key, json: { version, ...more }, headers: { "if-match": ifMatch } });
  }

  test("a tenant sees its own versions, newest first, then the bases, page by page", async () => {
    const all = await ask<List<VersionSummary>>(200, "GET", `${root}/versions?limit=100`, { key });
    expect(all.data.slice(0, 3).map(({ id }) => id)).toEqual([second.versionId, first.versionId, base]);
    const seen: string[] = [];
    let cursor: string | null = "";
    while (cursor !== null) {
      const query: string = cursor === "" ? "limit=1" : `limit=1&cursor=${cursor}`;
      const page: List<VersionSummary> = await ask(200, "GET", `${root}/versions?${query}`, { key });
      seen.push(...page.data.map(({ id }) => id));
      cursor = page.next_cursor;
    }
    expect(seen).toEqual(all.data.map(({ id }) => id));
    await refused("INVALID_REQUEST", "GET", `${root}/versions?limit=0`, { key });
    await refused("MODEL_NOT_FOUND", "GET", "/v1/models/other/versions", { key });
    await refused("MODEL_NOT_FOUND", "GET", `${root}/versions?cursor=${absent}`, { key });
  });

  test("a version's manifest and files are downloaded byte for byte", async () => {
    const path = `${root}/versions/${first.versionId}`;
    const version = await ask<Version>(200, "GET", path, { key });
    expect(version).toMatchObject({ is_base: false, base_version: base, gate: { verdict: "passed" } });
    const manifest = await (await call("GET", `${path}/manifest`, { key })).arrayBuffer();
    expect(await sha256Hex(manifest)).toBe(version.manifest_sha256);
    for (const file of version.files) {
      const response = await call("GET", `${path}/files/${file.path}`, { key });
      expect(response.headers.get("etag")).toBe(`"${file.sha256}"`);
      expect(await sha256Hex(await response.arrayBuffer())).toBe(file.sha256);
    }
    await refused("FILE_NOT_FOUND", "GET", `${path}/files/onnx/other.onnx`, { key });
    await refused("FILE_NOT_FOUND", "GET", `${path}/files/..%2f..%2fmanifest.json`, { key });
    for (const end of ["", "/manifest", "/files/config.json"]) {
      await refused("MODEL_NOT_FOUND", "GET", `${root}/versions/${absent}${end}`, { key });
      await refused("MODEL_NOT_FOUND", "GET", `/v1/models/other/versions/${first.versionId}${end}`, { key });
    }
  });

  test("an alias moves only from where its mover saw it", async () => {
    const read = await call("GET", production, { key });
    expect(read.headers.get("etag")).toBe('"0"');
    expect(await read.json()).toMatchObject({ version: base, revision: 0, updated_at: null });
    const json = { version: first.versionId };
    await refused("PRECONDITION_REQUIRED", "PUT", production, { key, json });
    for (const stale of ['"1"', "0", '"x"', 'W/"0"']) {
      await refused("PRECONDITION_FAILED", "PUT", production, { key, json, headers: { "if-match": stale } });
    }
    const headers = { "if-match": '"0"' };
    await refused("MODEL_NOT_FOUND", "PUT", production, { key, json: { version: absent }, headers });
    await refused("MODEL_NOT_FOUND", "PUT", "/v1/models/other/aliases/production", { key, json, headers });
    await refused("INVALID_REQUEST", "PUT", production, { key, json: { version: "latest" }, headers });
    await refused("INVALID_REQUEST", "PUT", `${root}/aliases/UPPER`, { key, json, headers });
    const text = { ...headers, "content-type": "text/plain" };
    await refused("UNSUPPORTED_MEDIA_TYPE", "PUT", production, { key, body: "x", headers: text });
    await refused("BODY_TOO_LARGE", "PUT", production, { key, json: { reason: "x".repeat(1_000_001) }, headers });
    const moves = await Promise.all(
      [first, second].map(({ versionId: version }) => call("PUT", production, { key, json: { version }, headers })),
    );
    expect(moves.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 412]);
    await move(first.versionId, "*", { reason: "start of this test" });
    expect((await captionProbe(key)).version).toBe(first.versionId);
  });

  test("roll back: the next caption comes from the version before, and again from the one before that", async () => {
    const own = await makeTenant();
    const options = { key: own.key, json: {} };
    await refused("ALIAS_CONFLICT", "POST", `${production}/rollback`, options);
    await rateImages(own.key, 20);
    const older = (await runJob(own, { promote: "auto" })).made.versionId;
    const newer = (await runJob(own, { promote: "auto", seed: 2 })).made.versionId;
    expect((await captionProbe(own.key)).version).toBe(newer);
    const stale = { ...options, headers: { "if-match": '"1"' } };
    await refused("PRECONDITION_FAILED", "POST", `${production}/rollback`, stale);
    const json = { reason: "complaints" };
    const answer = await call("POST", `${production}/rollback`, { ...options, json });
    expect(await answer.json()).toMatchObject({ version: older, revision: 3 });
    expect(answer.headers.get("etag")).toBe('"3"');
    expect((await captionProbe(own.key)).version).toBe(older);
    await ask(200, "POST", `${production}/rollback`, options);
    expect((await captionProbe(own.key)).version).toBe(base);
    await refused("ALIAS_CONFLICT", "POST", `${production}/rollback`, options);
    const { data } = await ask<List<AliasMove>>(200, "GET", `${production}/history`, { key: own.key });
    expect(data.map(({ move: kind, from_version, to_version }) => [kind, from_version, to_version])).toEqual([
      ["rollback", older, base],
      ["rollback", newer, older],
      ["promotion", older, newer],
      ["promotion", base, older],
    ]);
    expect(data[1]).toMatchObject({ reason: "complaints", actor: expect.stringMatching(/^key_/) });
    const page = await ask<List<AliasMove>>(200, "GET", `${production}/history?limit=3`, { key: own.key });
    const rest = await ask<List<AliasMove>>(200, "GET", `${production}/history?cursor=${page.next_cursor}`, {
      key: own.key,
    });
    expect([...page.data, ...rest.data]).toEqual(data);
  });

  test("a rollback reads JSON of known fields only, of aliases that are there", async () => {
    const path = `${production}/rollback`;
    await refused("INVALID_REQUEST", "POST", path, { key, json: { version: base } });
    await refused("INVALID_JSON", "POST", path, { key, body: "{", headers: { "content-type": "application/json" } });
    await refused("UNSUPPORTED_MEDIA_TYPE", "POST", path, {
      key,
      body: "x",
      headers: { "content-type": "text/plain" },
    });
    await refused("BODY_TOO_LARGE", "POST", path, { key, json: { reason: "x".repeat(1_000_001) } });
    for (const [method, end] of [
      ["GET", ""],
      ["GET", "/history"],
      ["POST", "/rollback"],
    ] as const) {
      const options = { key, ...(method === "POST" && { json: {} }) };
      await refused("MODEL_NOT_FOUND", method, `${root}/aliases/nobody${end}`, options);
      await refused("MODEL_NOT_FOUND", method, `/v1/models/other/aliases/production${end}`, options);
      await refused("INVALID_REQUEST", method, `${root}/aliases/No${end}`, options);
    }
  });

  test("a further alias serves whoever names it, and is listed", async () => {
    const headers = { "if-match": '"0"' };
    const json = { version: second.versionId };
    await ask<Alias>(200, "PUT", `${root}/aliases/trial`, { key, json, headers });
    const options = { key, body: versionFile(env.TEST_VERSION, "probe.png"), headers: { "content-type": "image/png" } };
    const caption = await ask<{ version: string }>(201, "POST", "/v1/captions?model=scenes@trial", options);
    expect(caption.version).toBe(second.versionId);
    await refused("MODEL_NOT_FOUND", "POST", "/v1/captions?model=scenes@other", options);
    const {
      data: [model],
    } = await ask<List<Model>>(200, "GET", "/v1/models", { key });
    expect(model).toMatchObject({ id: "scenes", base_version: base });
    expect(model?.aliases.map(({ alias }) => alias)).toEqual(["production", "trial"]);
  });

  test("what the object store has lost is said to be out of service", async () => {
    const own = await makeTenant();
    await rateImages(own.key, 20);
    const { made } = await runJob(own);
    const path = `${root}/versions/${made.versionId}`;
    const config = made.manifest.files.find((file) => file.path === "tokenizer_config.json");
    const keys = [`files/${config?.sha256}`, `files/${made.sha256}`];
    const kept = await Promise.all(keys.map(async (name) => (await env.OBJECTS.get(name))?.arrayBuffer()));
    await env.OBJECTS.delete(keys);
    await refused("MODEL_UNAVAILABLE", "GET", `${path}/files/tokenizer_config.json`, { key: own.key });
    await refused("MODEL_UNAVAILABLE", "GET", `${path}/manifest`, { key: own.key });
    // The manifest of this version is known to the isolate; one that is not, is read anew.
    await env.OBJECTS.put(`files/${config?.sha256}`, kept[0] ?? "");
    await env.DIRECTORY.prepare("insert into base_models values (?, 'broken', ?, 'x', 1)")
      .bind("f".repeat(64), `ver_${"f".repeat(24)}`)
      .run();
    await refused("MODEL_UNAVAILABLE", "GET", `/v1/models/broken/versions/ver_${"f".repeat(24)}`, { key: own.key });
    await env.DIRECTORY.prepare("delete from base_models where model = 'broken'").run();
    await env.OBJECTS.put(`files/${made.sha256}`, kept[1] ?? "");
  });
});

describe("base versions", () => {
  const admin = { key: adminToken };
  const manifest = versionFile(env.TEST_VERSION, "manifest.json");
  const signature = new TextDecoder().decode(versionFile(env.TEST_VERSION, "manifest.json.sig")).trim();

  test("a manifest is taken only if a trusted key signed it and all its files are stored", async () => {
    const path = "/admin/base_models";
    const altered = new TextDecoder().decode(manifest).replace("scenes", "scened");
    const json = { manifest: new TextEncoder().encode(altered).toBase64(), signature };
    await refused("SIGNATURE_INVALID", "POST", path, { ...admin, json });
    await refused("SIGNATURE_INVALID", "POST", path, {
      ...admin,
      json: { manifest: manifest.toBase64(), signature: "AAAA" },
    });
    const signed = async (text: string): Promise<{ manifest: string; signature: string }> => {
      const bytes = new Uint8Array(new TextEncoder().encode(text));
      return { manifest: bytes.toBase64(), signature: await sign(bytes) };
    };
    for (const text of ["", "{}", "[", '{"object":"model_manifest"}']) {
      await refused("MANIFEST_INVALID", "POST", path, { ...admin, json: await signed(text) });
    }
    const original = new TextDecoder().decode(manifest);
    const climbing = original.replace('"config.json"', '"../config.json"');
    await refused("MANIFEST_INVALID", "POST", path, { ...admin, json: await signed(climbing) });
    const probeless = original.replace('"image":"probe.png"', '"image":"other.png"');
    await refused("MANIFEST_INVALID", "POST", path, { ...admin, json: await signed(probeless) });
    const lost = original.replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${"0".repeat(64)}"`);
    await refused("FILES_MISSING", "POST", path, { ...admin, json: await signed(lost) });
  });

  test("requests that are not as described are refused", async () => {
    const path = "/admin/base_models";
    await refused("INVALID_REQUEST", "POST", path, { ...admin, json: { manifest: "%" } });
    await refused("INVALID_JSON", "POST", path, {
      ...admin,
      body: "{",
      headers: { "content-type": "application/json" },
    });
    await refused("UNSUPPORTED_MEDIA_TYPE", "POST", path, {
      ...admin,
      body: "x",
      headers: { "content-type": "text/plain" },
    });
    await refused("BODY_TOO_LARGE", "POST", path, {
      ...admin,
      json: { manifest: "A".repeat(1_000_001), signature: "" },
    });
  });

  test("a file is stored under its digest only", async () => {
    const body = new TextEncoder().encode("a file of a base version");
    const path = `/admin/files/${await sha256Hex(body)}`;
    await refused("INVALID_REQUEST", "PUT", "/admin/files/x", { ...admin, body });
    await refused("DIGEST_MISMATCH", "PUT", path, { ...admin, body: "other" });
    const headers = { "content-length": "90000001" };
    await refused("BODY_TOO_LARGE", "PUT", path, { ...admin, body: new Uint8Array(20_000_001), headers });
    const put = vi.spyOn(env.OBJECTS, "put").mockRejectedValueOnce(new Error("the store is down"));
    await refused("STORE_UNAVAILABLE", "PUT", path, { ...admin, body });
    put.mockRestore();
    await ask(201, "PUT", path, { ...admin, body });
    await ask(200, "PUT", path, { ...admin, body });
  });
});
