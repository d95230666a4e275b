// The GPU worker's addresses, called by whoever should not.
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { sha256Hex } from "../../../captioner/digest.ts";
import type { TrainerJobRequest } from "../../../edge/contract/trainer.ts";
import { imageKey } from "../../../edge/services/images.ts";
import { ask, call, makeTenant, publishBase, refused, type TestTenant } from "../harness.ts";
import { message, pathOf, rateImages, reach, startJob, submitted, tell, variant } from "./loop.ts";

const bytes = new TextEncoder().encode("a file");

describe("what a GPU worker calls", () => {
  let tenant: TestTenant;
  let request: TrainerJobRequest;
  let other: TrainerJobRequest;
  let ended: TrainerJobRequest;
  const root = (): string => `/internal/jobs/${request.job_id}`;

  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    await rateImages(tenant.key, 20);
    request = (await submitted((await startJob(tenant.key)).id)).request;
    const stranger = await makeTenant();
    await rateImages(stranger.key, 20);
    other = (await submitted((await startJob(stranger.key)).id)).request;
    const { id } = await startJob(tenant.key);
    ended = (await submitted(id)).request;
    const data = { code: "X_FAILED", message: "It failed.", retryable: false };
    await tell(ended, message(ended, 1, { type: "failed", data }));
    await reach(tenant.key, id, "failed");
  });

  test("nobody passes but with this job's token", async () => {
    const digest = await sha256Hex(bytes);
    const operations = [
      ["GET", `${root()}/dataset`],
      ["GET", `${root()}/images/${digest}`],
      ["PUT", `${root()}/artifacts/${digest}`],
      ["POST", `${root()}/callbacks`],
    ] as const;
    const unknown = request.job_token.replace(/_[0-9a-z]{26}_/, "_00000000000000000000000000_");
    const wrong = [
      undefined,
      "",
      tenant.key,
      env.ADMIN_TOKEN,
      env.TRAINER_TOKEN,
      other.job_token,
      ended.job_token,
      unknown,
    ];
    for (const key of [...wrong, `${request.job_token}x`, request.job_token.slice(0, -1)]) {
      for (const [method, path] of operations) await refused("UNAUTHENTICATED", method, path, { key });
      expect((await call("HEAD", `${root()}/artifacts/${digest}`, { key })).status).toBe(401);
    }
    const gone = `/internal/jobs/ftjob-00000000000000000000000000/dataset`;
    await refused("UNAUTHENTICATED", "GET", gone, { key: request.job_token });
    expect(await env.OBJECTS.head(`files/${digest}`)).toBeNull();
  });

  test("a job that has ended is answered with 410", async () => {
    const key = ended.job_token;
    const digest = await sha256Hex(bytes);
    const gone = `/internal/jobs/${ended.job_id}`;
    await refused("JOB_ENDED", "GET", `${gone}/dataset`, { key });
    await refused("JOB_ENDED", "GET", `${gone}/images/${digest}`, { key });
    await refused("JOB_ENDED", "PUT", `${gone}/artifacts/${digest}`, { key, body: bytes });
    expect((await call("HEAD", `${gone}/artifacts/${digest}`, { key })).status).toBe(410);
    expect((await tell(ended, message(ended, 2, { type: "cancelled", data: {} }))).status).toBe(410);
  });

  test("a file is stored under its digest only, once", async () => {
    const key = request.job_token;
    const digest = await sha256Hex(bytes);
    const path = `${pathOf(request.artifacts_url)}/${digest}`;
    expect((await call("HEAD", path, { key })).status).toBe(404);
    await refused("DIGEST_MISMATCH", "PUT", path, { key, body: "another file" });
    await refused("INVALID_REQUEST", "PUT", `${root()}/artifacts/${digest.toUpperCase()}`, { key, body: bytes });
    const headers = { "content-length": "90000001" };
    await refused("BODY_TOO_LARGE", "PUT", path, { key, body: new Uint8Array(20_000_001), headers });
    const put = vi.spyOn(env.OBJECTS, "put").mockRejectedValueOnce(new Error("the store is down"));
    await refused("STORE_UNAVAILABLE", "PUT", path, { key, body: bytes });
    put.mockRestore();
    expect((await call("HEAD", path, { key })).status).toBe(404);
    await ask(201, "PUT", path, { key, body: bytes });
    await ask(200, "PUT", path, { key, body: bytes });
    expect((await call("HEAD", path, { key })).status).toBe(200);
    await refused("NOT_FOUND", "GET", path, { key });
  });

  test("an image of another tenant is not there, nor is a data set that is lost", async () => {
    const key = request.job_token;
    const stranger = await makeTenant();
    const body = Uint8Array.from([...variant(7), 0]);
    await call("POST", "/v1/captions", { key: stranger.key, body, headers: { "content-type": "image/png" } });
    const digest = await sha256Hex(body);
    expect(await env.OBJECTS.head(imageKey(stranger.id, digest))).not.toBeNull();
    await refused("IMAGE_NOT_FOUND", "GET", `${root()}/images/${digest}`, { key });
    const { objects } = await env.OBJECTS.list({ prefix: `data-sets/${tenant.id}/${request.dataset.sha256}` });
    const stored = await (await env.OBJECTS.get(objects[0]?.key ?? ""))?.arrayBuffer();
    await env.OBJECTS.delete(objects.map((object) => object.key));
    await refused("DATA_SET_NOT_FOUND", "GET", `${root()}/dataset`, { key });
    await env.OBJECTS.put(objects[0]?.key ?? "", stored ?? "");
  });

  test("a callback that is not signed for this job, just now, is refused and leaves no trace", async () => {
    const progress = message(request, 1, { type: "progress", data: { phase: "update", step: 1, total_steps: 2 } });
    const now = Math.floor(Date.now() / 1000);
    const forgeries = [
      { secret: other.callback_secret },
      { secret: `${request.callback_secret}x` },
      { timestamp: now - 3600 },
      { timestamp: now + 3600 },
      { id: `${request.job_id}-2` },
      { id: `${other.job_id}-1` },
    ];
    for (const forgery of forgeries) expect((await tell(request, progress, forgery)).status).toBe(422);
    const headers = { "webhook-id": "x", "webhook-timestamp": "now", "webhook-signature": "v2,AAAA v1,%%%" };
    await refused("SIGNATURE_INVALID", "POST", `${root()}/callbacks`, {
      key: request.job_token,
      json: progress,
      headers,
    });
    await refused("SIGNATURE_INVALID", "POST", `${root()}/callbacks`, { key: request.job_token, json: progress });
    const path = `/v1/fine_tuning/jobs/${request.job_id}/events`;
    const { data } = await ask<{ data: { type: string }[] }>(200, "GET", path, { key: tenant.key });
    expect(data.map(({ type }) => type)).not.toContain("progress");
  });

  test("a signed callback that breaks the contract is refused", async () => {
    const id = { id: `${request.job_id}-1` };
    const wrong = [
      { ...message(request, 1, { type: "cancelled", data: {} }), extra: 1 },
      { ...message(request, 1, { type: "cancelled", data: {} }), sequence: 0 },
      { ...message(request, 1, { type: "cancelled", data: {} }), type: "surprise" },
    ];
    for (const body of wrong) expect((await tell(request, body, id)).status).toBe(400);
    expect((await tell(request, "{", id)).status).toBe(400);
    expect((await tell(request, "x".repeat(1_000_001), id)).status).toBe(413);
  });
});
