// Tenant B tries every operation of openapi.yaml on what belongs to tenant A.
import { beforeAll, describe, expect, test } from "vitest";
import { operations } from "./description.ts";
import { rateImages, runJob } from "./fine-tune/loop.ts";
import { ask, call, captionProbe, makeTenant, publishBase, type CallOptions, type TestTenant } from "./harness.ts";

/** What makes an operation get as far as looking for the thing it names. */
const requests: Record<string, CallOptions> = {
  submitFeedback: { json: { rating: "up", end_user: "stranger" } },
  rollBackAlias: { json: {} },
};

/** Operations that name nothing: what they answer to B must hold nothing of A's. */
const unnamed = operations.filter(
  ({ security, path, method }) => security?.some((way) => "apiKey" in way) && !path.includes("{") && method === "GET",
);
const named = operations.filter(({ security, path }) => security?.some((way) => "apiKey" in way) && path.includes("{"));

describe("two tenants", () => {
  let b: TestTenant;
  /** Ids of A's things by the name of the path's parameter. */
  const belongings: Record<string, string> = {};

  beforeAll(async () => {
    await publishBase();
    const a = await makeTenant("A");
    b = await makeTenant("B");
    const caption = await captionProbe(a.key);
    const json = { rating: "down", correction: "a secret of tenant A", end_user: "A's viewer" };
    const { id } = await ask<{ id: string }>(201, "POST", `/v1/captions/${caption.id}/feedback`, { key: a.key, json });
    await rateImages(a.key, 20);
    const { job, made } = await runJob(a, { metadata: { note: "secret plan" } });
    const version = made.versionId;
    requests["putAlias"] = { json: { version }, headers: { "if-match": "*" } };
    const headers = { "if-match": '"0"' };
    await ask(200, "PUT", "/v1/models/scenes/aliases/of-a", { key: a.key, json: { version }, headers });
    Object.assign(belongings, { caption_id: caption.id, feedback_id: id, tenant_id: a.id, job_id: job.id });
    Object.assign(belongings, { version, alias: "of-a", path: "onnx/decoder_model_merged.onnx" });
  });

  test.each(named.map((operation) => [operation.operationId, operation] as const))(
    "%s answers B as if A's things were not there",
    async (operationId, { method, path }) => {
      const url = path.replaceAll(/\{([a-z0-9_]+)\}/g, (_, name: string) => {
        // The model itself is everyone's; what a tenant makes of it is not.
        const id = name === "model" ? "scenes" : belongings[name];
        if (id === undefined) throw new Error(`this test knows no ${name} of tenant A`);
        return id;
      });
      const response = await call(method, url, { key: b.key, ...requests[operationId] });
      expect(response.status).toBe(operationId === "listVersions" ? 200 : 404);
      const text = await response.text();
      if (response.status === 200) {
        for (const id of [belongings["job_id"], belongings["version"]]) expect(text).not.toContain(id);
      }
      expect(text).not.toContain("secret");
    },
  );

  test.each(unnamed.map(({ operationId, path }) => [operationId, path]))(
    "%s shows B nothing of A's",
    async (_, path) => {
      const text = await (await call("GET", path ?? "", { key: b.key })).text();
      for (const [name, id] of Object.entries(belongings)) if (name !== "path") expect(text).not.toContain(id);
      expect(text).not.toContain("secret");
    },
  );
});

describe("training", () => {
  test("B trains on nothing of A's, though both have the same pictures", async () => {
    await publishBase();
    const [a, b] = [await makeTenant("A"), await makeTenant("B")];
    await rateImages(a.key, 24);
    await rateImages(b.key, 20);
    const { job } = await runJob(b);
    expect(job.data_set?.counts).toMatchObject({ images: 20, ratings: 20 });
  });
});
