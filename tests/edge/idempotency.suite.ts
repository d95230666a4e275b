import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { unwrap } from "../../edge/tenant/result.ts";
import { ask, call, captionProbe, makeTenant, probe, publishBase, refused, type TestTenant } from "./harness.ts";

describe("Idempotency-Key", () => {
  let tenant: TestTenant;
  let key: string;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
  });

  const headers = (idempotencyKey: string): Record<string, string> => ({
    "content-type": "image/png",
    "idempotency-key": idempotencyKey,
  });

  test("the second request gets the first one's answer, byte for byte, and makes nothing", async () => {
    const first = await call("POST", "/v1/captions", { key, body: probe, headers: headers("again") });
    const second = await call("POST", "/v1/captions", { key, body: probe, headers: headers("again") });
    expect(first.headers.get("idempotent-replayed")).toBeNull();
    expect(second.headers.get("idempotent-replayed")).toBe("true");
    expect(second.status).toBe(201);
    expect(await second.text()).toBe(await first.text());
    const { data } = await ask<{ data: unknown[] }>(200, "GET", "/v1/captions", { key });
    expect(data).toHaveLength(1);
  });

  test("another body or another query under the same key is refused", async () => {
    await call("POST", "/v1/captions", { key, body: probe, headers: headers("once") });
    const other = { key, body: probe, headers: headers("once") };
    await refused("IDEMPOTENCY_KEY_REUSED", "POST", "/v1/captions?n=2", other);
    await refused("IDEMPOTENCY_KEY_REUSED", "POST", "/v1/captions", { ...other, body: probe.slice(1) });
  });

  test("a refusal is kept too", async () => {
    const options = { key, body: probe.slice(0, 9), headers: headers("refused") };
    const first = await call("POST", "/v1/captions", options);
    const second = await call("POST", "/v1/captions", options);
    expect(first.status).toBeGreaterThanOrEqual(400);
    expect(await second.text()).toBe(await first.text());
  });

  test("of two requests at once one does the work and the other is told to wait, or gets its answer", async () => {
    const { id } = await captionProbe(key);
    const path = `/v1/captions/${id}/feedback`;
    const json = { rating: "up", end_user: "twice" };
    const answers = await Promise.all(
      Array.from({ length: 5 }, () => call("POST", path, { key, json, headers: { "idempotency-key": "race" } })),
    );
    for (const answer of answers) expect([201, 409]).toContain(answer.status);
    const fresh = answers.filter(({ status, headers: sent }) => status === 201 && !sent.has("idempotent-replayed"));
    expect(fresh).toHaveLength(1);
  });

  test("while the first request is at work, the second is told to wait", async () => {
    const { id } = await captionProbe(key);
    const json = { rating: "up" };
    const body = new TextEncoder().encode(`\n${JSON.stringify(json)}`);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", body));
    const path = `/v1/captions/${id}/feedback`;
    for (const [operationPath, code] of [
      [path, "POST"],
      ["/v1/captions", "POST"],
    ] as const) {
      const store = env.TENANT.getByName(tenant.id);
      const bodySha256 = operationPath === path ? digest.toHex() : await digestOf("\n", probe);
      const operation = `${code} ${operationPath}`;
      unwrap(await store.beginIdempotent({ operation, key: "at-work", bodySha256, now: new Date() }));
    }
    const waiting = { "idempotency-key": "at-work" };
    await refused("IDEMPOTENCY_IN_FLIGHT", "POST", path, { key, json, headers: waiting });
    const response = await call("POST", "/v1/captions", { key, body: probe, headers: headers("at-work") });
    expect(response.status).toBe(409);
    expect(response.headers.get("retry-after")).toBe("1");
    await refused("IDEMPOTENCY_KEY_REUSED", "POST", path, { key, json: { rating: "down" }, headers: waiting });
  });

  test("a key abandoned by a dead request, or older than a day, is free again", async () => {
    const store = env.TENANT.getByName(tenant.id);
    const request = { operation: "POST /x", key: "k", bodySha256: "0", now: new Date("2026-01-01T00:00:00Z") };
    const later = (seconds: number) => ({ ...request, now: new Date(request.now.getTime() + seconds * 1000) });
    expect(unwrap(await store.beginIdempotent(request))).toEqual({ state: "new" });
    expect(unwrap(await store.beginIdempotent(later(60)))).toEqual({ state: "in_flight" });
    expect(unwrap(await store.beginIdempotent(later(121)))).toEqual({ state: "new" });
    const answer = { operation: "POST /x", key: "k", status: 201, body: "{}", contentType: "application/json" };
    unwrap(await store.endIdempotent(answer));
    expect(unwrap(await store.beginIdempotent(later(86_000)))).toMatchObject({ state: "ended", status: 201 });
    expect(unwrap(await store.beginIdempotent(later(87_000)))).toEqual({ state: "new" });
  });

  test.each(["", " ", "a b", "ü", "x".repeat(256)])("the malformed key %j is refused", async (malformed) => {
    const problem = await refused("INVALID_REQUEST", "POST", "/v1/captions", {
      key,
      body: probe,
      headers: headers(malformed),
    });
    expect(problem.errors[0]?.pointer).toBe("header/idempotency-key");
  });

  test("keys of two tenants never meet", async () => {
    const other = await makeTenant();
    await ask(201, "POST", "/v1/captions", { key, body: probe, headers: headers("same") });
    const response = await call("POST", "/v1/captions", { key: other.key, body: probe, headers: headers("same") });
    expect(response.headers.get("idempotent-replayed")).toBeNull();
  });
});

async function digestOf(prefix: string, body: Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = await new Blob([prefix, body]).arrayBuffer();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}
