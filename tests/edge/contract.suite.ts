import { env } from "cloudflare:workers";
import { describe, expect, test } from "vitest";
import { idPrefixes } from "../../edge/contract/ids.ts";
import { readEnv } from "../../edge/env.ts";
import { newId } from "../../edge/http/ids.ts";
import { problems } from "../../edge/http/errors.ts";
import { operations } from "./description.ts";
import openapiYaml from "../../openapi.yaml";

describe("the contract", () => {
  test("each error code is promised by an operation, or belongs to none", () => {
    const everywhere = ["NOT_FOUND", "INTERNAL"];
    const unused = Object.keys(problems).filter(
      (code) => !everywhere.includes(code) && !openapiYaml.includes(`\`${code}\``),
    );
    expect(unused).toEqual([]);
  });

  test("each operation has a name of its own, a summary and a group", () => {
    const names = operations.map(({ operationId }) => operationId);
    expect(new Set(names).size).toBe(names.length);
    for (const operation of operations)
      expect(operation).toMatchObject({ summary: expect.any(String), tags: [expect.any(String)] });
  });

  test("ids sort by the time they were made at", () => {
    const times = [0, 1, 31, 32, 1_000, 1_700_000_000_000, 1_800_000_000_000, 2 ** 48 - 1];
    const ids = times.map((time) => newId("caption", new Date(time)));
    expect(ids.toSorted()).toEqual(ids);
    for (const id of ids) expect(id).toMatch(/^cap_[0-9a-hjkmnp-tv-z]{26}$/);
    expect(new Set(Object.values(idPrefixes)).size).toBe(Object.keys(idPrefixes).length);
  });

  test("a Worker without one of its bindings does not start, and says which", () => {
    expect(() => readEnv({ ...env, OBJECTS: undefined } as never)).toThrow(/OBJECTS/);
    expect(() => readEnv({ ...env, ADMIN_TOKEN: "short" })).toThrow(/ADMIN_TOKEN/);
    expect(() => readEnv({ ...env, ADMIN_TOKEN: "short" })).not.toThrow(/short/);
    expect(() => readEnv({ ...env, TRUSTED_KEYS: "not a key" })).toThrow(/TRUSTED_KEYS/);
    expect(readEnv({ ...env, PUBLIC_URL: "http://127.0.0.1:8787/" }).publicUrl).toBe("http://127.0.0.1:8787");
  });
});
