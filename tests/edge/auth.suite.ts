// Who may call what: every operation of openapi.yaml, without a key and with every scope but its own.
import { beforeAll, describe, expect, test } from "vitest";
import { scopes, type Scope } from "../../db/value-lists.ts";
import { operations } from "./description.ts";
import { call, makeKey, makeTenant } from "./harness.ts";

const keyed = operations.flatMap(({ security, ...operation }) => {
  const scope = security?.find((way) => "apiKey" in way)?.["apiKey"]?.[0] as Scope | undefined;
  return scope ? [{ ...operation, scope }] : [];
});
const byAdmin = operations.filter(({ security }) => security?.some((way) => "adminToken" in way));
const filled = (path: string): string => path.replaceAll(/\{[a-z0-9_]+\}/g, "x");

describe("keys and scopes", () => {
  const lacking = new Map<Scope, string>();
  beforeAll(async () => {
    const { id } = await makeTenant();
    for (const scope of scopes.filter((name) => name !== "admin")) {
      const others = scopes.filter((other) => other !== scope && other !== "admin");
      lacking.set(scope, await makeKey(id, ...others));
    }
  });

  test.each(keyed.map((operation) => [operation.operationId, operation] as const))(
    "%s needs a key with its scope",
    async (_, { method, path, scope }) => {
      expect((await call(method, filled(path))).status).toBe(401);
      expect((await call(method, filled(path), { key: "dico_x" })).status).toBe(401);
      expect((await call(method, filled(path), { key: lacking.get(scope) })).status).toBe(403);
    },
  );

  test.each(byAdmin.map(({ operationId, method, path }) => [operationId, method, path]))(
    "%s is for the operator alone",
    async (_, method = "", path = "") => {
      expect((await call(method, filled(path))).status).toBe(401);
      expect((await call(method, filled(path), { key: lacking.get("models:read") })).status).toBe(401);
    },
  );
});
