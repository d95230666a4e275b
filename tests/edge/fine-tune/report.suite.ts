// Learning reports and rejections as the GPU worker sends them, and as callers read them.
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { sha256Hex } from "../../../captioner/digest.ts";
import type { Job } from "../../../edge/contract/jobs.ts";
import type { JobReport, LearningReport } from "../../../edge/contract/report.ts";
import type { ReportFile, TrainerJobRequest } from "../../../edge/contract/trainer.ts";
import { reportKey } from "../../../edge/services/reports.ts";
import { ask, call, captionProbe, makeTenant, publishBase, refused, type TestTenant } from "../harness.ts";
import { good, makeVersion, message, pathOf, rateImages, reach, startJob, submitted, tell } from "./loop.ts";

const hostile = `<img src=x onerror="alert('a')"> & a "dog"`;

const learning: LearningReport = {
  object: "learning_report",
  pictures: [
    {
      sha256: "a".repeat(64),
      thumbnail: "data:image/jpeg;base64,/9j/4AAQSkZJRg==",
      before: "a red dog in a field",
      after: hostile,
      predicted_before: 0.25,
      predicted_after: 0.75,
      rating: "down",
      correction: hostile,
    },
  ],
  curves: { steps: [1, 2, 3], series: { loss: [0.7, 0.5, 0.4], [`"><b>kl`]: [0, 1, 2] } },
  data: {
    images: 20,
    train: 16,
    held_out: 4,
    thumbs: 20,
    up: 7,
    down: 13,
    corrections: 1,
    candidates_per_image: 22.5,
    dropped: [{ reason: "caption_too_long", count: 1 }],
  },
  phases: [
    { name: "candidates", seconds: 6.5 },
    { name: "update", seconds: 12 },
  ],
  settings: { beta: 1, on_policy: false, [hostile]: hostile },
  evaluation: {
    ...good,
    end_users: [{ end_user: hostile, thumbs: 20, agreement: 0.5, weight: 0.25 }],
    warnings: [hostile],
  },
};

describe("learning reports", () => {
  let tenant: TestTenant;
  let key: string;
  let served: string;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
    await rateImages(key, 20);
    served = (await captionProbe(key)).version;
  });

  async function begin(): Promise<TrainerJobRequest> {
    return (await submitted((await startJob(key, { promote: "auto" })).id)).request;
  }

  async function upload(request: TrainerJobRequest, report: unknown): Promise<ReportFile> {
    const bytes = new Uint8Array(new TextEncoder().encode(JSON.stringify(report)));
    const sha256 = await sha256Hex(bytes);
    const options = { key: request.job_token, body: bytes };
    await ask(201, "PUT", `${pathOf(request.artifacts_url)}/${sha256}`, options);
    return { sha256, size: bytes.byteLength };
  }

  const pathTo = (id: string): string => `/v1/fine_tuning/jobs/${id}/report`;

  /** Ends a job as rejected by the GPU worker. */
  async function reject(code: string, report: ReportFile | null = null, by?: TrainerJobRequest): Promise<Job> {
    const request = by ?? (await begin());
    const data = { code, message: "ann and bob disagree.", help: ["Ask them."], end_users: ["ann", "bob"], report };
    expect((await tell(request, message(request, 1, { type: "rejected", data }))).status).toBe(200);
    return reach(key, request.job_id, "rejected", "failed");
  }

  test.each(["TOO_FEW_THUMBS", "THUMBS_ALL_ALIKE", "CONTRADICTORY_THUMBS", "NOTHING_TO_LEARN"])(
    "%s ends the job rejected, with what would help, without a version, and moves no alias",
    async (code) => {
      const job = await reject(code);
      expect(job).toMatchObject({ status: "rejected", version: null, gate: null, evaluation: null, report_url: null });
      const reason = { code, message: "ann and bob disagree.", retryable: false, fault: "user", help: ["Ask them."] };
      expect(job.status_reason).toEqual(reason);
      expect(job.ended_at).not.toBeNull();
      expect((await captionProbe(key)).version).toBe(served);
      await refused("REPORT_NOT_READY", "GET", pathTo(job.id), { key });
    },
  );

  test("a rejection that comes while the job is being stopped leaves it cancelled", async () => {
    const request = await begin();
    await ask(200, "POST", `/v1/fine_tuning/jobs/${request.job_id}/cancel`, { key });
    const data = { code: "NOTHING_TO_LEARN", message: "Nothing.", help: [], end_users: [], report: null };
    await tell(request, message(request, 1, { type: "rejected", data }));
    await reach(key, request.job_id, "cancelled");
  });

  test("a rejected job's report says why, and lies under its tenant alone", async () => {
    const request = await begin();
    const report = await upload(request, { ...learning, evaluation: null });
    const job = await reject("CONTRADICTORY_THUMBS", report, request);
    expect(job.report_url).toBe(pathTo(job.id));
    const read = await ask<JobReport>(200, "GET", job.report_url ?? "", { key });
    expect(read).toMatchObject({ status: "rejected", contradicting_end_users: ["ann", "bob"], gate: null });
    expect(await env.OBJECTS.head(`files/${report.sha256}`)).toBeNull();
    expect(await env.OBJECTS.head(reportKey(tenant.id, report.sha256))).not.toBeNull();
    const page = await (await call("GET", `${job.report_url}?format=html`, { key })).text();
    for (const text of ["ann, bob", "Ask them."]) expect(page).toContain(text);
  });

  describe("of a job with a version", () => {
    let job: Job;
    beforeAll(async () => {
      const own = await makeTenant();
      await rateImages(own.key, 20);
      key = own.key;
      const request = await begin();
      await refused("REPORT_NOT_READY", "GET", pathTo(request.job_id), { key });
      const { done } = await makeVersion(request);
      const data = { ...done, report: await upload(request, learning) };
      await tell(request, message(request, 1, { type: "succeeded", data }));
      job = await reach(key, request.job_id, "succeeded");
    });

    test("it is the GPU worker's report with the job's own records", async () => {
      const report = await ask<JobReport>(200, "GET", job.report_url ?? "", { key });
      expect(report.learning).toEqual(learning);
      expect(report).toMatchObject({
        job: job.id,
        status: "succeeded",
        status_reason: null,
        gate: job.gate,
        data_set: job.data_set,
        lineage: { base_version: job.base_version, parent_version: job.parent_version, version: job.version },
      });
      expect(report.data_set?.counts.by_version).toEqual({ [served]: 20 });
    });

    test("its page runs nothing, loads nothing, and shows hostile words as words", async () => {
      const page = await call("GET", job.report_url ?? "", { key, headers: { accept: "text/html,*/*;q=0.8" } });
      expect(page.headers.get("content-type")).toMatch(/^text\/html/);
      const policy = page.headers.get("content-security-policy") ?? "";
      for (const rule of ["default-src 'none'", "img-src data:", "style-src 'unsafe-inline'"]) {
        expect(policy).toContain(rule);
      }
      expect(policy).not.toMatch(/script-src|https?:|\*/);
      const html = await page.text();
      const tags = new Set([...html.matchAll(/<([a-z0-9]+)/g)].map(([, tag]) => tag));
      expect(tags.has("script")).toBe(false);
      expect(html).not.toContain("<b>");
      expect(html).not.toMatch(/<[^>]*\son[a-z]+=/);
      const images = [...html.matchAll(/<img [^>]*src="([^"]*)"/g)].map(([, source]) => source);
      expect(images).toEqual(learning.pictures.map(({ thumbnail }) => thumbnail));
      expect(html).toContain("&lt;img");
      // The words that changed are marked on their side.
      expect(html).toContain("<del>red</del>");
      expect(html).toContain("<ins>&amp;</ins>");
      for (const check of job.gate?.checks ?? []) expect(html).toContain(check.name);
      for (const text of ["<svg", "candidates", "caption too long", "relation", "25 %"]) expect(html).toContain(text);
    });

    test("the format asked for wins over the header Accept, and another is refused", async () => {
      const headers = { accept: "text/html" };
      const answer = await call("GET", `${job.report_url}?format=json`, { key, headers });
      expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
      await refused("INVALID_REQUEST", "GET", `${job.report_url}?format=pdf`, { key });
      await refused("JOB_NOT_FOUND", "GET", pathTo("ftjob-00000000000000000000000000"), { key });
    });
  });

  const [picture] = learning.pictures;
  const bad: [string, unknown][] = [
    ["a thumbnail from elsewhere", { pictures: [{ ...picture, thumbnail: "https://example.org/a.jpg" }] }],
    ["a thumbnail that is a page", { pictures: [{ ...picture, thumbnail: "data:text/html;base64,PGI+" }] }],
    ["a thumbnail that leaves its attribute", { pictures: [{ ...picture, thumbnail: 'data:image/jpeg;base64,A"x' }] }],
    ["too many pictures", { pictures: Array.from({ length: 49 }, () => picture) }],
    ["curves of unequal length", { curves: { steps: [1, 2], series: { loss: [1] } } }],
    ["a field that nobody knows", { extra: 1 }],
  ];
  test.each(bad)("a report with %s fails the job", async (_, change) => {
    const request = await begin();
    const report = await upload(request, { ...learning, ...(change as object) });
    const job = await reject("NOTHING_TO_LEARN", report, request);
    expect(job).toMatchObject({ status: "failed", status_reason: { code: "REPORT_INVALID" }, report_url: null });
    await refused("REPORT_NOT_READY", "GET", pathTo(job.id), { key });
  });

  test("a report that was not uploaded, has another size or is no JSON fails the job", async () => {
    const absent = await reject("NOTHING_TO_LEARN", { sha256: "b".repeat(64), size: 10 });
    expect(absent.status_reason?.code).toBe("REPORT_INVALID");
    const request = await begin();
    const { sha256, size } = await upload(request, { ...learning, phases: [] });
    const longer = await reject("NOTHING_TO_LEARN", { sha256, size: size + 1 }, request);
    expect(longer.status_reason?.code).toBe("REPORT_INVALID");
    const third = await begin();
    const body = new Uint8Array(new TextEncoder().encode('{"loss": NaN}'));
    const digest = await sha256Hex(body);
    await call("PUT", `${pathOf(third.artifacts_url)}/${digest}`, { key: third.job_token, body });
    const broken = await reject("NOTHING_TO_LEARN", { sha256: digest, size: body.byteLength }, third);
    expect(broken.status_reason).toMatchObject({ code: "REPORT_INVALID", message: expect.stringContaining("JSON") });
  });

  test("a report that names a file of a version fails the job, and the file stays", async () => {
    const request = await begin();
    const { done } = await makeVersion(request);
    const [file] = done.files;
    const named = { sha256: file?.sha256 ?? "", size: file?.size ?? 0 };
    await tell(request, message(request, 1, { type: "succeeded", data: { ...done, report: named } }));
    const job = await reach(key, request.job_id, "failed");
    expect(job.status_reason).toMatchObject({ code: "REPORT_INVALID", message: expect.stringContaining("pictures") });
    expect((await reject("NOTHING_TO_LEARN", named)).status_reason?.code).toBe("REPORT_INVALID");
    expect(await env.OBJECTS.head(`files/${named.sha256}`)).not.toBeNull();
  });
});
