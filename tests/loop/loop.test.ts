// Edge and GPU worker as real processes: thumbs become a version, whatever is killed meanwhile.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Caption } from "../../edge/contract/captions.ts";
import type { Job, JobEvent } from "../../edge/contract/jobs.ts";
import type { Alias, VersionSummary } from "../../edge/contract/models.ts";
import { JobReport } from "../../edge/contract/report.ts";
import { startService, type Service } from "./service.ts";

const pictures = join(import.meta.dirname, "../fixtures/pixels");
const goldens = JSON.parse(readFileSync(join(pictures, "goldens.json"), "utf8")) as { images: { file: string }[] };
// Long enough to be interrupted, short enough to wait for.
const hyperparameters = { n_epochs: 40, candidates: 12 };

describe("the closed loop", () => {
  let service: Service;
  beforeAll(async () => {
    service = await startService();
  }, 120_000);
  afterAll(() => service.stop(), 30_000);

  /** Calls the service; while it is being started again, tries again. */
  async function call<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T> {
    const isFile = body instanceof Uint8Array;
    for (let attempt = 1; ; attempt++) {
      const response = await fetch(service.url + path, {
        method,
        headers: {
          authorization: `Bearer ${service.key}`,
          ...(body !== undefined && { "content-type": isFile ? "image/png" : "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: isFile ? new Uint8Array(body) : JSON.stringify(body) }),
      }).catch(() => undefined);
      if (response?.ok) return (await response.json()) as T;
      if (attempt > 100 || (response && response.status < 500)) {
        throw new Error(`${method} ${path}: ${response?.status} ${await response?.text()}`);
      }
      await wait(300);
    }
  }

  const files = goldens.images.map(({ file }) => file);
  const send = (file: string): Promise<Caption> =>
    call("POST", "/v1/captions", new Uint8Array(readFileSync(join(pictures, file))));

  async function startJob(seed: number): Promise<Job> {
    const request = { promote: "auto", seed, method: { type: "dico", dico: { hyperparameters } } };
    return call("POST", "/v1/fine_tuning/jobs", request, { "idempotency-key": `job-${seed}` });
  }

  async function reach(id: string, isThere: (job: Job) => boolean): Promise<Job> {
    for (;;) {
      const job = await call<Job>("GET", `/v1/fine_tuning/jobs/${id}`);
      if (isThere(job)) return job;
      if (job.ended_at) throw new Error(`the job is ${job.status}: ${JSON.stringify(job.status_reason)}`);
      await wait(100);
    }
  }

  /** That the job ended once, with one version and each of its events once. */
  async function expectOnce(job: Job): Promise<void> {
    expect(["succeeded", "rejected"]).toContain(job.status);
    const { data: events } = await call<{ data: JobEvent[] }>("GET", `/v1/fine_tuning/jobs/${job.id}/events?limit=500`);
    for (const type of ["data_set_frozen", "submitted", "outcome", "published", "ended"]) {
      expect(events.filter((event) => event.type === type)).toHaveLength(1);
    }
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, i) => i + 1));
    const { data: versions } = await call<{ data: VersionSummary[] }>("GET", "/v1/models/scenes/versions?limit=100");
    expect(versions.filter((version) => version.job === job.id)).toHaveLength(1);
  }

  test("thumbs train a version, and its captions come from the edge", async () => {
    for (const [number, file] of files.entries()) {
      const { id } = await send(file);
      await call("POST", `/v1/captions/${id}/feedback`, { rating: number % 2 === 0 ? "up" : "down" });
    }
    const { id } = await startJob(1);
    const job = await reach(id, ({ ended_at }) => ended_at !== null);
    await expectOnce(job);
    expect(job.data_set?.counts.images).toBe(new Set(files).size);
    expect(job.evaluation?.examples.images).toBe(job.data_set?.counts.images);
    const report = JobReport.parse(await call("GET", job.report_url ?? ""));
    expect(report.learning.evaluation).toEqual(job.evaluation);
    expect(report.learning.curves.steps.length).toBeGreaterThan(0);
    const caption = await call<Caption>(
      "POST",
      `/v1/captions?model=${job.version}`,
      new Uint8Array(readFileSync(join(pictures, files[0] ?? ""))),
    );
    expect(caption.version).toBe(job.version);
  }, 180_000);

  test("the GPU worker killed in the middle of training: the job goes on and ends", async () => {
    const { id } = await startJob(2);
    await reach(id, ({ status, progress }) => status === "training" && (progress?.step ?? 0) > 0);
    await service.kill("gpu_worker");
    await expectOnce(await reach(id, ({ ended_at }) => ended_at !== null));
    // workerd says so of a Workflow whose steps' results were not disposed.
    expect(service.edgeLog()).not.toContain("code had hung");
  }, 240_000);

  test("the edge killed in the middle of a job: the job ends, and nothing is published twice", async () => {
    const { id } = await startJob(3);
    await reach(id, ({ status }) => status === "training");
    await service.kill("edge");
    await expectOnce(await reach(id, ({ ended_at }) => ended_at !== null));
  }, 240_000);

  test("after all this a promoted version can be rolled back", async () => {
    const alias = "/v1/models/scenes/aliases/production";
    const { data } = await call<{ data: VersionSummary[] }>("GET", "/v1/models/scenes/versions?limit=100");
    const [newest] = data;
    const before = await call<Alias>("GET", alias);
    const request = { version: newest?.id, override: true, reason: "to see it rolled back" };
    await call("PUT", alias, request, { "if-match": `"${before.revision}"` });
    expect((await send(files[0] ?? "")).version).toBe(newest?.id);
    await call("POST", `${alias}/rollback`, {});
    expect((await send(files[0] ?? "")).version).toBe(before.version);
  }, 60_000);
});
