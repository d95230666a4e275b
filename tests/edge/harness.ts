// How suites speak to the Worker: over HTTP, each answer checked against openapi.yaml.
import { env, exports } from "cloudflare:workers";
import { expect } from "vitest";
import type { Scope } from "../../db/value-lists.ts";
import { scopes } from "../../db/value-lists.ts";
import type { Problem } from "../../edge/contract/shapes.ts";
import type { CreatedKey, Tenant } from "../../edge/contract/tenants.ts";
import { checkAnswer } from "./description.ts";

export const adminToken = env.ADMIN_TOKEN;

export interface CallOptions {
  /** Bearer token: an API key, the operator's token or a job's. */
  key?: string | undefined;
  json?: unknown;
  body?: BodyInit;
  headers?: Record<string, string>;
}

/** Sends a request to the Worker; fails unless openapi.yaml promises the answer as it came. */
export async function call(method: string, path: string, options: CallOptions = {}): Promise<Response> {
  const { key, json, body, headers } = options;
  const response = await exports.default.fetch(
    new Request(`https://edge.example.org${path}`, {
      method,
      headers: {
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
        ...(json !== undefined && { "content-type": "application/json" }),
        ...headers,
      },
      ...(json !== undefined && { body: JSON.stringify(json) }),
      ...(body !== undefined && { body }),
    }),
  );
  const faults = await checkAnswer(method, new URL(path, "https://edge.example.org").pathname, response.clone());
  expect(faults).toEqual([]);
  expect(response.headers.get("x-request-id")).toMatch(/^[A-Za-z0-9_-]{8,64}$/);
  return response;
}

/** Sends a request that must be answered with `status`; gives the body. */
export async function ask<Body>(status: number, method: string, path: string, options?: CallOptions): Promise<Body> {
  const response = await call(method, path, options);
  const text = await response.text();
  expect(response.status, text).toBe(status);
  return (text === "" ? undefined : JSON.parse(text)) as Body;
}

/** Sends a request that must be refused with `code`. */
export async function refused(code: string, method: string, path: string, options?: CallOptions): Promise<Problem> {
  const response = await call(method, path, options);
  const problem = (await response.json()) as Problem;
  expect(problem, JSON.stringify(problem)).toMatchObject({ code, status: response.status });
  expect(problem.request_id).toBe(response.headers.get("x-request-id"));
  return problem;
}

export interface TestTenant {
  id: string;
  /** A key with every scope. */
  key: string;
}

/** Makes a tenant with a key of all scopes, through the API. */
export async function makeTenant(name = "a tenant"): Promise<TestTenant> {
  const { id } = await ask<Tenant>(201, "POST", "/admin/tenants", { key: adminToken, json: { name } });
  return { id, key: await makeKey(id, ...scopes) };
}

/** Makes a key with just these scopes. */
export async function makeKey(tenantId: string, ...granted: Scope[]): Promise<string> {
  const { key } = await ask<CreatedKey>(201, "POST", `/admin/tenants/${tenantId}/keys`, {
    key: adminToken,
    json: { name: granted.join(" "), scopes: granted },
  });
  return key;
}

/** A file of a test version. */
export function versionFile(version: Record<string, string>, path: string): Uint8Array<ArrayBuffer> {
  const file = version[path];
  if (file === undefined) throw new Error(`the test version has no ${path}`);
  return Uint8Array.fromBase64(file);
}

/** Publishes the test version as the base model `scenes`; doing it twice changes nothing. */
export async function publishBase(version: Record<string, string> = env.TEST_VERSION): Promise<string> {
  const manifest = versionFile(version, "manifest.json");
  const { files } = JSON.parse(new TextDecoder().decode(manifest)) as {
    files: { path: string; sha256: string }[];
  };
  for (const { path, sha256 } of files) {
    const response = await call("PUT", `/admin/files/${sha256}`, {
      key: adminToken,
      headers: { "content-type": "application/octet-stream" },
      body: versionFile(version, path),
    });
    expect([200, 201]).toContain(response.status);
  }
  const response = await call("POST", "/admin/base_models", {
    key: adminToken,
    json: {
      manifest: manifest.toBase64(),
      signature: new TextDecoder().decode(versionFile(version, "manifest.json.sig")).trim(),
    },
  });
  const body = await response.text();
  expect([200, 201], body).toContain(response.status);
  return (JSON.parse(body) as { version?: string; id?: string }).version ?? "";
}

/** The image that the test version knows by heart. */
export const probe = versionFile(env.TEST_VERSION, "probe.png");

/** Captions the probe image; gives the caption's body. */
export async function captionProbe(key: string): Promise<{ id: string; caption: string; version: string }> {
  return ask(201, "POST", "/v1/captions", { key, body: probe, headers: { "content-type": "image/png" } });
}
