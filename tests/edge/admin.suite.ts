import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import type { CreatedKey, Key, Tenant, Whoami } from "../../edge/contract/tenants.ts";
import { adminToken, ask, makeKey, makeTenant, refused } from "./harness.ts";

interface List<Item> {
  data: Item[];
  has_more: boolean;
  next_cursor: string | null;
}

const admin = { key: adminToken };
const nobody = "tnt_00000000000000000000000000";

describe("tenants and keys", () => {
  test("tenants are listed from new to old, page by page, each once", async () => {
    const made = [];
    for (const name of ["first", "second", "third"]) {
      made.push((await ask<Tenant>(201, "POST", "/admin/tenants", { ...admin, json: { name } })).id);
    }
    const pages = [];
    let query = "limit=1";
    for (let i = 0; i < 3; i++) {
      const page = await ask<List<Tenant>>(200, "GET", `/admin/tenants?${query}`, admin);
      pages.push(page.data[0]?.id);
      query = `limit=1&cursor=${page.next_cursor}`;
    }
    expect(pages).toEqual(made.reverse());
  });

  test("a key is shown once, works, and is kept as a digest only", async () => {
    const tenant = await makeTenant("acme");
    const created = await ask<CreatedKey>(201, "POST", `/admin/tenants/${tenant.id}/keys`, {
      ...admin,
      json: { name: "browser", scopes: ["feedback:write"] },
    });
    expect(created.key).toMatch(/^dico_[0-9a-z]{26}_[A-Za-z0-9_-]{43}$/);
    const whoami = await ask<Whoami>(200, "GET", "/v1/whoami", { key: created.key });
    expect(whoami.tenant).toMatchObject({ id: tenant.id, name: "acme" });
    expect(whoami.key).toMatchObject({ id: created.id, scopes: ["feedback:write"] });
    const { data } = await ask<List<Key>>(200, "GET", `/admin/tenants/${tenant.id}/keys`, admin);
    expect(data.map(({ id }) => id)).toContain(created.id);
    const rows = await env.DIRECTORY.prepare("select * from api_keys").all();
    expect(JSON.stringify(rows.results)).not.toContain(created.key.slice(-43));
  });

  test("a revoked key is refused at once, and revoking it again finds nothing", async () => {
    const tenant = await makeTenant();
    const { key, id } = await ask<CreatedKey>(201, "POST", `/admin/tenants/${tenant.id}/keys`, {
      ...admin,
      json: { name: "short-lived", scopes: ["admin"] },
    });
    await ask(200, "GET", "/v1/whoami", { key });
    expect(await ask(200, "DELETE", `/admin/keys/${id}`, admin)).toEqual({ object: "api_key", id, deleted: true });
    await refused("UNAUTHENTICATED", "GET", "/v1/whoami", { key });
    await refused("KEY_NOT_FOUND", "DELETE", `/admin/keys/${id}`, admin);
  });

  test("an expired key is refused", async () => {
    const tenant = await makeTenant();
    const { key } = await ask<CreatedKey>(201, "POST", `/admin/tenants/${tenant.id}/keys`, {
      ...admin,
      json: { name: "expired", scopes: ["admin"], expires_at: "2020-01-01T00:00:00Z" },
    });
    await refused("UNAUTHENTICATED", "GET", "/v1/whoami", { key });
  });

  test("whatever is not a tenant's valid key is refused", async () => {
    const { key } = await makeTenant();
    const other = await makeTenant();
    const swapped = `${other.key.slice(0, 32)}${key.slice(32)}`;
    for (const wrong of [undefined, "", "dico_", adminToken, `${key}x`, key.slice(0, -1), swapped]) {
      await refused("UNAUTHENTICATED", "GET", "/v1/whoami", { key: wrong });
    }
    await refused("UNAUTHENTICATED", "GET", "/v1/whoami", { headers: { authorization: `Basic ${key}` } });
  });

  test("only the operator's token opens /admin", async () => {
    const { id, key } = await makeTenant();
    const operations: [string, string, unknown?][] = [
      ["POST", "/admin/tenants", { name: "x" }],
      ["GET", "/admin/tenants"],
      ["POST", `/admin/tenants/${id}/keys`, { name: "x", scopes: ["admin"] }],
      ["GET", `/admin/tenants/${id}/keys`],
      ["DELETE", "/admin/keys/key_1"],
    ];
    for (const [method, path, json] of operations) {
      for (const wrong of [undefined, key, `${adminToken}x`, adminToken.slice(1)]) {
        await refused("UNAUTHENTICATED", method, path, { key: wrong, json });
      }
    }
  });

  test("a key of a tenant that is not there is neither made nor listed", async () => {
    const json = { name: "x", scopes: ["admin"] };
    await refused("TENANT_NOT_FOUND", "POST", `/admin/tenants/${nobody}/keys`, { ...admin, json });
    await refused("TENANT_NOT_FOUND", "GET", `/admin/tenants/${nobody}/keys`, admin);
  });

  test("bad input is refused with a pointer to each fault", async () => {
    const { id } = await makeTenant();
    const problem = await refused("INVALID_REQUEST", "POST", `/admin/tenants/${id}/keys`, {
      ...admin,
      json: { name: "", scopes: ["everything"], "a/b": 1 },
    });
    expect(problem.errors.map(({ pointer, code }) => [pointer, code])).toEqual([
      ["/name", "too_small"],
      ["/scopes/0", "invalid_value"],
      ["/a~1b", "unknown_field"],
    ]);
    for (const { fix } of problem.errors) expect(fix).not.toBe("");
  });

  test.each(["/admin/tenants", "/admin/tenants/TENANT/keys"])("POST %s reads JSON objects only", async (path) => {
    const { id } = await makeTenant();
    const url = path.replace("TENANT", id);
    const type = (value: string): { headers: { "content-type": string } } => ({ headers: { "content-type": value } });
    await refused("INVALID_JSON", "POST", url, { ...admin, body: "{", ...type("application/json") });
    await refused("INVALID_REQUEST", "POST", url, { ...admin, json: [] });
    await refused("UNSUPPORTED_MEDIA_TYPE", "POST", url, { ...admin, body: "name=x", ...type("text/plain") });
    await refused("BODY_TOO_LARGE", "POST", url, { ...admin, json: { name: "x".repeat(1_000_001) } });
  });

  test.each(["limit=0", "limit=101", "limit=x", "limit=1&limit=2", "cursor=", "offset=1"])(
    "a list refuses ?%s",
    async (query) => {
      const { id } = await makeTenant();
      await refused("INVALID_REQUEST", "GET", `/admin/tenants?${query}`, admin);
      await refused("INVALID_REQUEST", "GET", `/admin/tenants/${id}/keys?${query}`, admin);
    },
  );

  test("each scope opens what it names and nothing else", async () => {
    const { id } = await makeTenant();
    const browser = await makeKey(id, "feedback:write");
    await refused("SCOPE_MISSING", "GET", "/v1/captions", { key: browser });
    await refused("SCOPE_MISSING", "GET", "/v1/feedback", { key: browser });
    await ask(200, "GET", "/v1/captions", { key: await makeKey(id, "admin") });
  });
});
