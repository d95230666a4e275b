import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import type { Job, JobEvent } from "../../../edge/contract/jobs.ts";
import type { Version } from "../../../edge/contract/models.ts";
import type { DataSet } from "../../../edge/contract/trainer.ts";
import { imageKey } from "../../../edge/services/images.ts";
import { unwrap } from "../../../edge/tenant/result.ts";
import { sha256Hex } from "../../../captioner/digest.ts";
import { ask, call, captionProbe, makeKey, makeTenant, publishBase, refused, type TestTenant } from "../harness.ts";
import {
  answerWith,
  forget,
  good,
  makeVersion,
  message,
  pathOf,
  rateImages,
  reach,
  readJob,
  runJob,
  startJob,
  submitted,
  tell,
} from "./loop.ts";
import { seedMalformed, seedRefused } from "./trainer-service.ts";

const images = 24;
const path = "/v1/fine_tuning/jobs";
const nowhere = "ftjob-00000000000000000000000000";

interface List<Item> {
  data: Item[];
  has_more: boolean;
  next_cursor: string | null;
}

function eventsOf(key: string, id: string): Promise<List<JobEvent>> {
  return ask(200, "GET", `${path}/${id}/events`, { key });
}

describe("fine-tune jobs", () => {
  let tenant: TestTenant;
  let key: string;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
    await rateImages(key, images);
  });

  test("thumbs become a version that serves the next caption, and every hop names the one before", async () => {
    const before = await captionProbe(key);
    const started = await startJob(key, { promote: "auto", metadata: { purpose: "first" }, seed: 7 });
    expect(started).toMatchObject({
      status: "validating",
      version: null,
      data_set: null,
      base_version: before.version,
    });
    const { request, authorization } = await submitted(started.id);
    expect(authorization).toBe(`Bearer ${env.TRAINER_TOKEN}`);
    expect(request).toMatchObject({ job_id: started.id, seed: 7, model: "scenes" });

    const bytes = await (await call("GET", pathOf(request.dataset.url), { key: request.job_token })).arrayBuffer();
    expect(await sha256Hex(bytes)).toBe(request.dataset.sha256);
    const dataSet = JSON.parse(new TextDecoder().decode(bytes)) as DataSet;
    expect(dataSet.examples).toHaveLength(images);
    expect(dataSet.counts).toMatchObject({ images, ratings: images, up: 8, down: 16, corrections: 1 });
    expect(dataSet.counts.train + dataSet.counts.held_out).toBe(images);
    for (const { image } of dataSet.examples) {
      const answer = await call("GET", pathOf(image.url), { key: request.job_token });
      expect(await sha256Hex(await answer.arrayBuffer())).toBe(image.sha256);
    }

    for (const [sequence, state] of (["training", "evaluating", "exporting"] as const).entries()) {
      await tell(request, message(request, sequence + 1, { type: "state", data: { state } }));
      expect((await readJob(key, started.id)).status).toBe(state);
    }
    const made = await makeVersion(request);
    const done = message(request, 4, { type: "succeeded", data: made.done });
    expect(await (await tell(request, done)).json()).toMatchObject({ repeated: false });
    const job = await reach(key, started.id, "succeeded");
    expect(job).toMatchObject({
      version: made.versionId,
      gate: { verdict: "passed", reasons: [] },
      evaluation: { log_ratio: good.log_ratio },
      data_set: { sha256: request.dataset.sha256, counts: dataSet.counts },
      status_reason: null,
      metadata: { purpose: "first" },
    });
    const after = await captionProbe(key);
    expect(after.version).toBe(made.versionId);
    expect(after.caption).toBe(made.manifest.probe.expected_caption);
    const events = await eventsOf(key, job.id);
    expect(events.data.map(({ type }) => type)).toEqual(
      "created data_set_frozen submitted state state state outcome state published alias ended".split(" "),
    );
    expect(events.data.map(({ sequence }) => sequence)).toEqual(events.data.map((_, i) => i + 1));
  });

  test("events are read page by page, oldest first, each once", async () => {
    const {
      data: [job],
    } = await ask<List<Job>>(200, "GET", `${path}?status=succeeded&limit=1`, { key });
    const all = (await eventsOf(key, job?.id ?? "")).data;
    const seen: JobEvent[] = [];
    for (let cursor = "0"; cursor;) {
      const url = `${path}/${job?.id}/events?limit=4&cursor=${cursor}`;
      const page = await ask<List<JobEvent>>(200, "GET", url, { key });
      seen.push(...page.data);
      cursor = page.next_cursor ?? "";
    }
    expect(seen).toEqual(all);
  });

  test("what cannot be trained on is left out, and counted", async () => {
    const own = await makeTenant();
    const ids = await rateImages(own.key, 22);
    const { image } = await ask<{ image: { sha256: string } }>(200, "GET", `/v1/captions/${ids[0]}`, { key: own.key });
    await env.OBJECTS.delete(imageKey(own.id, image.sha256));
    const { job } = await runJob(own);
    expect(job.data_set).toMatchObject({ counts: { images: 21 }, dropped: [{ reason: "image_missing", count: 1 }] });
    const store = env.TENANT.getByName(own.id);
    const base = (await captionProbe(own.key)).version;
    const found = unwrap(await store.ratedCaptions({ model: "scenes", baseVersions: [base] }, 5));
    expect(found).toMatchObject({ total: 22, ratings: { length: 5 } });
  });

  test("a job that has too little left once frozen is rejected, and says how many more it takes", async () => {
    const own = await makeTenant();
    const [first] = await rateImages(own.key, 20);
    const { image } = await ask<{ image: { sha256: string } }>(200, "GET", `/v1/captions/${first}`, { key: own.key });
    await env.OBJECTS.delete(imageKey(own.id, image.sha256));
    const { id } = await startJob(own.key);
    const job = await reach(own.key, id, "rejected");
    expect(job).toMatchObject({ version: null, gate: null, data_set: null, report_url: null });
    expect(job.status_reason).toMatchObject({ code: "FEEDBACK_INSUFFICIENT", fault: "user", retryable: false });
    expect(job.status_reason?.help).toEqual(["Collect 1 more rated image."]);
  });

  test("every method is taken with its settings, and what is left out is left to the GPU worker", async () => {
    for (const type of ["dico", "sft", "scst", "dpo"]) {
      const { id } = await startJob(key, { method: { type } });
      const { request } = await submitted(id);
      expect(request.method).toEqual({ type, [type]: { hyperparameters: {} } });
    }
    const hyperparameters = { beta: 0.5, tau: "auto", losers: 3, on_policy: "auto" };
    const { id } = await startJob(key, { method: { type: "dico", dico: { hyperparameters } } });
    expect((await submitted(id)).request.method).toEqual({ type: "dico", dico: { hyperparameters } });
  });

  const wrongSettings: [string, object, RegExp][] = [
    ["dico", { beta: 11 }, /at most 10/],
    ["dico", { losers: 0 }, /at least 1/],
    ["dico", { on_policy: "maybe" }, /boolean.*auto/],
    ["sft", { beta: 1 }, /Leave it out/],
    ["scst", { reward: "likes" }, /preference, clip_s, pac_s, cider.*auto/],
    ["dpo", { n_epochs: 1.5 }, /int.*auto/],
  ];
  test.each(wrongSettings)("%s with %j is refused with what to send instead", async (type, hyperparameters, fix) => {
    const json = { method: { type, [type]: { hyperparameters } } };
    const headers = { "idempotency-key": `wrong-settings-${JSON.stringify(hyperparameters).length}-${type}` };
    const problem = await refused("INVALID_REQUEST", "POST", path, { key, json, headers });
    expect(problem.errors).toHaveLength(1);
    expect(problem.errors[0]?.pointer).toBe(`/method/${type}/hyperparameters/${Object.keys(hyperparameters)[0]}`);
    expect(problem.errors[0]?.fix).toMatch(fix);
  });

  test("the same Idempotency-Key starts one job", async () => {
    const own = await makeTenant();
    await rateImages(own.key, 20);
    const options = { key: own.key, json: {}, headers: { "idempotency-key": "only-once" } };
    const first = await ask<Job>(201, "POST", path, options);
    expect(await ask<Job>(201, "POST", path, options)).toEqual(first);
    expect((await ask<List<Job>>(200, "GET", path, { key: own.key })).data).toHaveLength(1);
    await refused("IDEMPOTENCY_KEY_REUSED", "POST", path, { ...options, json: { seed: 2 } });
    await submitted(first.id);
  });

  test("callbacks that come twice, late or out of order change nothing twice", async () => {
    const { id } = await startJob(key);
    const { request } = await submitted(id);
    const progress = (step: number) =>
      ({ type: "progress", data: { phase: "update", step, total_steps: 60 } }) as const;
    await tell(request, message(request, 3, progress(20)));
    await tell(request, message(request, 4, { type: "state", data: { state: "evaluating" } }));
    // Older than what is known: kept as events, but nothing goes back.
    await tell(request, message(request, 2, progress(10)));
    await tell(request, message(request, 1, { type: "state", data: { state: "training" } }));
    const late = await readJob(key, id);
    expect(late.status).toBe("evaluating");
    await tell(request, message(request, 5, progress(40)));
    await tell(request, message(request, 6, { type: "log", data: { level: "warning", message: "weak signal" } }));
    expect((await readJob(key, id)).progress).toEqual({ phase: "update", step: 40, total_steps: 60 });

    const made = await makeVersion(request);
    const done = message(request, 7, { type: "succeeded", data: made.done });
    const answers = await Promise.all([tell(request, done), tell(request, done), tell(request, done)]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
    await reach(key, id, "succeeded");
    expect(await (await tell(request, done)).json()).toMatchObject({ repeated: true });
    const fresh = await tell(request, message(request, 8, progress(60)));
    expect(fresh.status).toBe(410);
    const { data } = await eventsOf(key, id);
    for (const once of ["outcome", "published", "ended"]) {
      expect(data.filter(({ type }) => type === once)).toHaveLength(1);
    }
    const { data: versions } = await ask<List<{ job: string | null }>>(200, "GET", "/v1/models/scenes/versions", {
      key,
    });
    expect(versions.filter(({ job }) => job === id)).toHaveLength(1);
  });

  test("an outcome whose callback is lost is asked for; a job that the GPU worker lost is handed over again", async () => {
    const { id } = await startJob(key);
    const { request } = await submitted(id);
    await forget(id);
    const again = await submitted(id);
    expect(again.request).toEqual(request);
    const made = await makeVersion(request);
    await answerWith(id, message(request, 9, { type: "succeeded", data: made.done }));
    expect(await reach(key, id, "succeeded")).toMatchObject({ version: made.versionId });
  }, 120_000);

  test("a version that the gate rejects is kept, not served, and promoted only with a reason", async () => {
    const worse = { ...good, log_ratio: -2.4, repetition: { before: 0.1, after: 0.3 } };
    const own = await makeTenant();
    await rateImages(own.key, 20);
    const { version: base } = await captionProbe(own.key);
    const { job, made } = await runJob(own, { promote: "auto" }, worse);
    expect(job).toMatchObject({ status: "rejected", version: made.versionId, gate: { verdict: "rejected" } });
    expect(job.gate?.reasons).toHaveLength(2);
    expect(job.gate?.checks.filter(({ passed }) => !passed).map(({ name }) => name)).toEqual([
      "log_ratio",
      "repetition",
    ]);
    expect(job.status_reason).toMatchObject({ code: "GATE_REJECTED", fault: "user" });
    expect(job.status_reason?.help).not.toEqual([]);
    const shown = await ask<Version>(200, "GET", `/v1/models/scenes/versions/${made.versionId}`, { key: own.key });
    expect(shown.gate).toEqual(job.gate);
    expect((await captionProbe(own.key)).version).toBe(base);
    const alias = "/v1/models/scenes/aliases/production";
    const headers = { "if-match": '"0"' };
    const version = made.versionId;
    await refused("VERSION_NOT_PROMOTABLE", "PUT", alias, { key: own.key, headers, json: { version } });
    await refused("INVALID_REQUEST", "PUT", alias, { key: own.key, headers, json: { version, override: true } });
    const json = { version, override: true, reason: "our editors prefer it" };
    await ask(200, "PUT", alias, { key: own.key, headers, json });
    expect((await captionProbe(own.key)).version).toBe(version);
  });

  test("`promote: auto` leaves an alias alone that someone moved meanwhile", async () => {
    const own = await makeTenant();
    await rateImages(own.key, 20);
    const first = await startJob(own.key, { promote: "auto" });
    const { request } = await submitted(first.id);
    const { made: rival } = await runJob(own, { promote: "auto", seed: 2 });
    const made = await makeVersion(request);
    await tell(request, message(request, 1, { type: "succeeded", data: made.done }));
    await reach(own.key, first.id, "succeeded");
    expect((await captionProbe(own.key)).version).toBe(rival.versionId);
    const { data } = await eventsOf(own.key, first.id);
    expect(data.find(({ type }) => type === "alias")).toMatchObject({ level: "warning" });
  });

  test("`promote: auto` needs the right to promote", async () => {
    const trainer = await makeKey(tenant.id, "jobs:write");
    const headers = { "idempotency-key": "no-promotion" };
    await refused("SCOPE_MISSING", "POST", path, { key: trainer, json: { promote: "auto" }, headers });
  });

  test("too little feedback is refused with the counts, and starts nothing", async () => {
    const own = await makeTenant();
    await rateImages(own.key, 4);
    const headers = { "idempotency-key": "too-early" };
    const problem = await refused("FEEDBACK_INSUFFICIENT", "POST", path, { key: own.key, json: {}, headers });
    expect(problem.errors.map(({ detail }) => detail)).toEqual([
      "There are 4 rated images of at least 20.",
      "There are 2 thumbs up of at least 3.",
      "There are 2 thumbs down of at least 3.",
    ]);
    for (const [i, more] of ["16 more rated images", "1 more thumb up", "1 more thumb down"].entries()) {
      expect(problem.errors[i]?.fix).toContain(more);
    }
    expect((await ask<List<Job>>(200, "GET", path, { key: own.key })).data).toEqual([]);
    const filtered = { feedback: { created_after: "2100-01-01T00:00:00Z" } };
    const later = { "idempotency-key": "filtered" };
    await refused("FEEDBACK_INSUFFICIENT", "POST", path, { key, json: filtered, headers: later });
  });

  test("a job can be stopped until its outcome is there; stopping again changes nothing", async () => {
    const { id } = await startJob(key);
    const { request } = await submitted(id);
    expect(await ask<Job>(200, "POST", `${path}/${id}/cancel`, { key })).toMatchObject({ status: "cancelling" });
    await ask<Job>(200, "POST", `${path}/${id}/cancel`, { key });
    await tell(request, message(request, 1, { type: "cancelled", data: {} }));
    await reach(key, id, "cancelled");
    expect((await submitted(id)).cancelled).toBe(true);
    await refused("JOB_CONFLICT", "POST", `${path}/${id}/cancel`, { key });
    expect((await tell(request, message(request, 2, { type: "cancelled", data: {} }))).status).toBe(410);
  });

  test("a failure of the GPU worker is the job's, with its reason", async () => {
    const { id } = await startJob(key);
    const { request } = await submitted(id);
    const data = { code: "NO_USABLE_IMAGES", message: "No image could be read.", retryable: false };
    await tell(request, message(request, 1, { type: "failed", data }));
    const job = await reach(key, id, "failed");
    expect(job.status_reason).toEqual({ ...data, fault: "provider", help: [] });
    expect(job.ended_at).not.toBeNull();
  });

  test("a GPU worker that refuses the job fails it", async () => {
    const { id } = await startJob(key, { seed: seedRefused });
    expect((await reach(key, id, "failed")).status_reason).toMatchObject({ code: "TRAINER_REFUSED" });
  });

  test("a GPU worker that answers nonsense is tried again, and the job can be stopped meanwhile", async () => {
    const { id } = await startJob(key, { seed: seedMalformed });
    await ask<Job>(200, "POST", `${path}/${id}/cancel`, { key });
    expect((await readJob(key, id)).status).toBe("cancelling");
  });

  test("bad requests are refused with a pointer, and start nothing", async () => {
    const headers = (name: string): Record<string, string> => ({ "idempotency-key": name });
    await refused("IDEMPOTENCY_KEY_REQUIRED", "POST", path, { key, json: {} });
    const wrong = { seed: -1, promote: "maybe", method: { type: "magic" }, feedback: { versions: ["x"] }, extra: 1 };
    const problem = await refused("INVALID_REQUEST", "POST", path, { key, json: wrong, headers: headers("wrong") });
    expect(problem.errors.map(({ pointer }) => pointer).sort()).toEqual([
      "/extra",
      "/feedback/versions/0",
      "/method/type",
      "/promote",
      "/seed",
    ]);
    await refused("MODEL_NOT_FOUND", "POST", path, { key, json: { model: "other" }, headers: headers("other") });
    const text = { ...headers("text"), "content-type": "text/plain" };
    await refused("UNSUPPORTED_MEDIA_TYPE", "POST", path, { key, body: "x", headers: text });
    const metadata = { a: "x".repeat(1_000_001) };
    await refused("BODY_TOO_LARGE", "POST", path, { key, json: { metadata }, headers: headers("large") });
    await refused("INVALID_REQUEST", "GET", `${path}?status=lost`, { key });
    await refused("INVALID_REQUEST", "GET", `${path}/${nowhere}/events?cursor=x`, { key });
    for (const [method, url] of [
      ["GET", `${path}/${nowhere}`],
      ["GET", `${path}/${nowhere}/events`],
      ["POST", `${path}/${nowhere}/cancel`],
    ] as const) {
      await refused("JOB_NOT_FOUND", method, url, { key });
    }
  });

  test("while the first request with a key is at work, the second is told to wait", async () => {
    const own = await makeTenant();
    const store = env.TENANT.getByName(own.id);
    const digest = await sha256Hex(await new Blob(["\n", "{}"]).arrayBuffer());
    const begun = { operation: `POST ${path}`, key: "racing", bodySha256: digest, now: new Date() };
    await store.beginIdempotent(begun);
    const options = { key: own.key, json: {}, headers: { "idempotency-key": "racing" } };
    await refused("IDEMPOTENCY_IN_FLIGHT", "POST", path, options);
  });
});
