import { describe, expect, test } from "vitest";
import { ask, call, refused } from "./harness.ts";

describe("the service itself", () => {
  test("says that it is up", async () => {
    expect(await ask(200, "GET", "/healthz")).toEqual({ object: "health", status: "ok" });
  });

  test("describes itself", async () => {
    const response = await call("GET", "/openapi.yaml");
    expect(response.headers.get("content-type")).toBe("application/yaml");
    expect(await response.text()).toContain("openapi: 3.1.0");
  });

  test("has a page to read, which asks no other host for anything", async () => {
    const response = await call("GET", "/docs");
    const page = await response.text();
    expect(page).toContain('data-url="/openapi.yaml"');
    expect(page).not.toMatch(/https?:/);
    expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
  });

  test("answers an address where nothing is with the one shape of errors", async () => {
    const problem = await refused("NOT_FOUND", "GET", "/v1/nothing");
    expect(problem.type).toBe("urn:captions-that-learn:problem:NOT_FOUND");
    expect(problem.retryable).toBe(false);
  });

  test("takes a well-formed X-Request-Id and replaces any other", async () => {
    const kept = await call("GET", "/healthz", { headers: { "x-request-id": "caller-chose-this" } });
    expect(kept.headers.get("x-request-id")).toBe("caller-chose-this");
    const replaced = await call("GET", "/healthz", { headers: { "x-request-id": "no spaces, please" } });
    expect(replaced.headers.get("x-request-id")).toMatch(/^req_/);
  });
});
