// The steps of a fine-tune job. Each may be run twice and leaves the same behind; what they
// expect to go wrong they answer, what may get better by waiting they throw.
import { CaptionerError } from "../../captioner/errors.ts";
import type { StoredReason } from "../../db/tenant-training.ts";
import type { Gate } from "../contract/jobs.ts";
import { TrainingMethod } from "../contract/method.ts";
import { type RejectedData, type SucceededData, TrainerCallback } from "../contract/trainer.ts";
import type { TenantDeps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { adoptReport, ReportInvalid } from "../services/reports.ts";
import { checkVersion, probeVersion, type CheckedVersion } from "../services/version-check.ts";
import { readFile } from "../storage/files.ts";
import type { JobRecord, JobRow } from "../tenant/jobs.ts";
import { dataSetKey, freeze, shortages } from "./data-set.ts";
import { judge } from "./gate.ts";
import { createTrainerClient, TrainerRefusal } from "./trainer-client.ts";

export type StepDeps = Pick<TenantDeps, "env" | "directory" | "captioner" | "tenantId" | "tenant" | "fetch" | "now">;

/** How a job ends that makes no version. */
export interface Ending {
  status: "failed" | "rejected";
  reason: StoredReason;
  reportSha256: string | null;
}
export type Outcome<T> = { ok: true; value: T } | { ok: false; ending: Ending };

const done = { ok: true, value: null } as const;

function failed(code: string, message: string, { retryable = false } = {}): { ok: false; ending: Ending } {
  const reason: StoredReason = { code, message, retryable, fault: "provider", help: [] };
  return { ok: false, ending: { status: "failed", reason, reportSha256: null } };
}

function rejected(
  { code, message, help }: Pick<RejectedData, "code" | "message" | "help">,
  reportSha256: string | null = null,
): { ok: false; ending: Ending } {
  const reason: StoredReason = { code, message, retryable: false, fault: "user", help };
  return { ok: false, ending: { status: "rejected", reason, reportSha256 } };
}

/** Freezes the feedback into a data set, once. */
export async function freezeFeedback(deps: StepDeps, jobId: string): Promise<Outcome<null>> {
  const { job, dataSet: known } = await deps.tenant.getJob(jobId);
  if (known || job.status !== "validating") return done;
  const dataSetId = jobId.replace(/^ftjob-/, "dst_");
  const { dataSet, bytes, sha256 } = await freeze(deps, { ...job, dataSetId });
  const lacking = shortages(dataSet.counts);
  if (lacking.length > 0) {
    const message = `Too little feedback was left: ${lacking.map(({ state }) => state).join(", ")}.`;
    return rejected({ code: "FEEDBACK_INSUFFICIENT", message, help: lacking.map(({ help }) => help) });
  }
  await deps.env.objects.put(dataSetKey(deps.tenantId, sha256), bytes, {
    sha256,
    httpMetadata: { contentType: "application/json" },
  });
  const { counts, dropped } = dataSet;
  const sizeBytes = bytes.byteLength;
  await deps.tenant.recordDataSet({ id: dataSetId, jobId, sha256, sizeBytes, counts, dropped, createdAt: deps.now() });
  return done;
}

/** Hands the job to the GPU worker, unless it is to stop. */
export async function submit(deps: StepDeps, jobId: string): Promise<Outcome<null>> {
  const record = await deps.tenant.getJob(jobId);
  if (record.job.status !== "validating") return done;
  try {
    await trainerOf(deps).submit(requestOf(deps, record));
  } catch (error) {
    if (!(error instanceof TrainerRefusal)) throw error;
    console.error(
      JSON.stringify({ level: "error", job_id: jobId, message: error.message, cause: String(error.cause) }),
    );
    return failed("TRAINER_REFUSED", "The GPU worker refused the job.");
  }
  const event = { type: "submitted", message: "The GPU worker took the job." } as const;
  await deps.tenant.advanceJob({ id: jobId, to: "queued", event, now: deps.now() });
  return done;
}

/**
 * Looks whether the job has come to its end. Asks the GPU worker too where a callback may have
 * been lost, hands the job over again where the worker has forgotten it, and passes on a request
 * to stop.
 */
export async function lookForOutcome(
  deps: StepDeps,
  jobId: string,
  { asksTrainer }: { asksTrainer: boolean },
): Promise<"ended" | "cancelled" | "waiting"> {
  const record = await deps.tenant.getJob(jobId);
  const found = endingOf(record.job);
  if (found !== "waiting") return found;
  const isStopping = record.job.status === "cancelling";
  if (!asksTrainer && !isStopping) return "waiting";
  const trainer = trainerOf(deps);
  const known = isStopping ? await trainer.cancel(jobId) : await trainer.find(jobId);
  if (known?.terminal) return endingOf((await deps.tenant.recordCallback(known.terminal, deps.now())).job);
  if (known) return "waiting";
  if (isStopping) return "cancelled";
  await trainer.submit(requestOf(deps, record));
  return "waiting";
}

function endingOf({ status, outcome, endedAt }: JobRow): "ended" | "cancelled" | "waiting" {
  if (status === "cancelling" && outcome) return "cancelled";
  return outcome || endedAt ? "ended" : "waiting";
}

/** What the GPU worker made, checked and judged. */
export interface Verdict {
  manifestSha256: string;
  versionId: string;
  signature: string;
  gate: Gate;
  reportSha256: string | null;
}

/** Checks what the GPU worker says it made: signature, files, lineage, probe, report, then the gate. */
export async function checkOutcome(deps: StepDeps, jobId: string): Promise<Outcome<Verdict>> {
  const record = await deps.tenant.getJob(jobId);
  const outcome = TrainerCallback.parse(record.job.outcome);
  if (outcome.type === "failed") {
    const { code, message, retryable } = outcome.data;
    return failed(code, message, { retryable });
  }
  if (outcome.type !== "succeeded" && outcome.type !== "rejected") {
    return failed("TRAINER_CANCELLED", "The GPU worker stopped.", { retryable: true });
  }
  const { report } = outcome.data;
  const reportSha256 = report?.sha256 ?? null;
  try {
    if (outcome.type === "rejected") {
      if (report) await adoptReport(deps, report);
      return rejected(outcome.data, reportSha256);
    }
    const event = { type: "state", message: "The version is being verified." } as const;
    await deps.tenant.advanceJob({ id: jobId, to: "verifying", event, now: deps.now() });
    const { manifestSha256, versionId, manifest } = await verify(deps, record, outcome.data);
    if (manifest.files.some(({ sha256 }) => sha256 === reportSha256)) {
      throw new ReportInvalid("The learning report must not be a file of the version, since it shows pictures.");
    }
    if (report) await adoptReport(deps, report);
    const { signature, evaluation } = outcome.data;
    return { ok: true, value: { manifestSha256, versionId, signature, gate: judge(evaluation), reportSha256 } };
  } catch (error) {
    if (error instanceof ReportInvalid) return failed("REPORT_INVALID", error.message);
    if (error instanceof ApiError && error.code !== "STORE_UNAVAILABLE") return failed(error.code, error.detail);
    if (error instanceof CaptionerError) return failed("PROBE_FAILED", `The version cannot be run: ${error.message}.`);
    throw error;
  }
}

async function verify(deps: StepDeps, { job, dataSet }: JobRecord, made: SucceededData): Promise<CheckedVersion> {
  const bytes = await readFile(deps.env, made.manifest_sha256);
  if (!bytes) throw new ApiError("FILES_MISSING", "The manifest was not uploaded.");
  const version = await checkVersion(deps, new Uint8Array(bytes), made.signature);
  const { lineage, model } = version.manifest;
  const expected = {
    base_manifest_sha256: job.baseManifestSha256,
    parent: job.parentManifestSha256,
    job_id: job.id,
    dataset_sha256: dataSet?.sha256,
  };
  for (const name of Object.keys(expected) as (keyof typeof expected)[]) {
    if (lineage[name] !== expected[name]) {
      throw new ApiError("MANIFEST_INVALID", `The manifest's lineage is not this job's: ${name} differs.`);
    }
  }
  if (model !== job.model) throw new ApiError("MANIFEST_INVALID", "The manifest is of another model.");
  const said = await probeVersion(deps, version);
  if (said !== undefined) {
    throw new ApiError("MANIFEST_INVALID", `Here the version says "${said}" to its probe image, not what it promises.`);
  }
  return version;
}

/** Makes the version visible, moves the alias if it should, ends the job: all in one transaction. */
export async function publish(deps: StepDeps, jobId: string, verdict: Verdict): Promise<void> {
  const { job, dataSet } = await deps.tenant.getJob(jobId);
  const now = deps.now();
  await deps.tenant.publishVersion(
    {
      id: verdict.versionId,
      model: job.model,
      manifestSha256: verdict.manifestSha256,
      signature: verdict.signature,
      baseVersionId: job.baseVersionId,
      parentVersionId: job.parentVersionId,
      jobId,
      dataSetId: dataSet?.id ?? "",
      gate: verdict.gate,
      createdAt: now,
    },
    verdict.reportSha256,
    now,
  );
}

/** Ends a job that made no version; one that was to stop has stopped. */
export async function end(deps: StepDeps, jobId: string, { status, reason, reportSha256 }: Ending): Promise<void> {
  const { job } = await deps.tenant.getJob(jobId);
  if (job.status === "cancelling") return endCancelled(deps, jobId);
  const level = status === "failed" ? "error" : "warning";
  const event = { type: "ended", level, message: reason.message, data: { code: reason.code } } as const;
  const changes = { statusReason: reason, reportSha256 };
  await deps.tenant.advanceJob({ id: jobId, to: status, event, changes, now: deps.now() });
  if (status === "rejected") return;
  // A worker that goes on for nobody is stopped; it may be the very thing that does not answer.
  await trainerOf(deps)
    .cancel(jobId)
    .catch(() => undefined);
}

export async function endCancelled(deps: StepDeps, jobId: string): Promise<void> {
  const event = { type: "ended", message: "The job was cancelled." } as const;
  await deps.tenant.advanceJob({ id: jobId, to: "cancelled", event, now: deps.now() });
}

function trainerOf(deps: StepDeps): ReturnType<typeof createTrainerClient> {
  return createTrainerClient(deps.env, deps.fetch);
}

function requestOf(
  { env }: StepDeps,
  { job, dataSet }: JobRecord,
): Parameters<ReturnType<typeof trainerOf>["submit"]>[0] {
  if (!dataSet) throw new Error("a job is submitted after its data set is frozen");
  const own = `${env.publicUrl}/internal/jobs/${job.id}`;
  return {
    job_id: job.id,
    model: job.model,
    base_manifest_sha256: job.baseManifestSha256,
    parent_manifest_sha256: job.parentManifestSha256,
    method: TrainingMethod.parse(job.method),
    seed: job.seed,
    dataset: { url: `${own}/dataset`, sha256: dataSet.sha256 },
    callback_url: `${own}/callbacks`,
    artifacts_url: `${own}/artifacts`,
    job_token: job.token,
    callback_secret: job.callbackSecret,
  };
}
