import type { Job, JobEvent, JobRequest } from "../contract/jobs.ts";
import { TrainingMethod } from "../contract/method.ts";
import { type Evaluation, SucceededData } from "../contract/trainer.ts";
import { idPrefixes } from "../contract/ids.ts";
import { countRatings, fewest, readRatings, shortages } from "../fine-tune/data-set.ts";
import { newsEvent } from "../fine-tune/wake.ts";
import type { Caller, TenantDeps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { newSecret } from "../http/secrets.ts";
import type { JobEventRow, JobRecord, JobRow } from "../tenant/jobs.ts";
import { newestBase, resolveVersion } from "./versions.ts";

/**
 * Starts a fine-tune job, if there is enough feedback to learn from.
 *
 * @throws MODEL_NOT_FOUND | MODEL_UNAVAILABLE | SCOPE_MISSING | FEEDBACK_INSUFFICIENT
 */
export async function startJob(deps: TenantDeps, caller: Caller, request: JobRequest): Promise<Job> {
  requirePromotion(caller, request);
  const base = await newestBase(deps, request.model);
  const parent = await resolveVersion(deps, request.model);
  const { versions, created_after: createdAfter, created_before: createdBefore } = request.feedback;
  const filter = {
    ...(versions && { versions }),
    ...(createdAfter && { createdAfter }),
    ...(createdBefore && { createdBefore }),
  };
  const { ratings } = await readRatings(deps, request.model, filter);
  requireEnough(countRatings(ratings));

  const now = deps.now();
  const job: JobRow = {
    id: deps.newId("job"),
    tenantId: deps.tenantId,
    model: request.model,
    baseVersionId: base.versionId,
    baseManifestSha256: base.manifestSha256,
    parentVersionId: parent.id,
    parentManifestSha256: parent.manifestSha256,
    method: request.method,
    seed: request.seed,
    promote: request.promote,
    filter,
    metadata: request.metadata,
    status: "validating",
    statusReason: null,
    progress: null,
    outcome: null,
    gate: null,
    versionId: null,
    reportSha256: null,
    token: `dicojob_${deps.tenantId.slice(idPrefixes.tenant.length)}_${newSecret()}`,
    callbackSecret: newSecret(),
    createdAt: now,
    updatedAt: now,
    endedAt: null,
  };
  await deps.tenant.insertJob(job);
  try {
    await deps.env.fineTune.create({ id: job.id, params: { tenantId: deps.tenantId, jobId: job.id } });
  } catch (error) {
    // The job is on record, and the store's alarm starts whatever has no Workflow yet.
    console.error(JSON.stringify({ level: "error", job_id: job.id, cause: String(error) }));
  }
  return jobFromRecord({ job, dataSet: null });
}

function requirePromotion({ scopes }: Caller, { promote }: JobRequest): void {
  if (promote === "manual" || scopes.includes("models:promote") || scopes.includes("admin")) return;
  throw new ApiError("SCOPE_MISSING", "`promote: auto` needs a key with the scope models:promote.");
}

function requireEnough(counts: ReturnType<typeof countRatings>): void {
  const lacking = shortages(counts);
  if (lacking.length === 0) return;
  const detail = `A job needs ${fewest.images} rated images with ${fewest.up} thumbs up and ${fewest.down} down. There are ${lacking.map(({ state }) => state).join(", ")}.`;
  throw new ApiError("FEEDBACK_INSUFFICIENT", detail, {
    errors: lacking.map(({ state, help }) => ({
      pointer: "/feedback",
      code: "too_small",
      detail: `There are ${state}.`,
      fix: `${help} Where \`feedback\` leaves some out, widen it.`,
    })),
  });
}

/**
 * Asks a job to stop; it may take a moment.
 *
 * @throws JOB_NOT_FOUND | JOB_CONFLICT
 */
export async function cancelJob(deps: TenantDeps, id: string): Promise<Job> {
  const record = await deps.tenant.requestCancel(id, deps.now());
  // Without the event the Workflow finds out at its next look.
  deps.defer(
    (async () => {
      const instance = await deps.env.fineTune.get(id);
      await instance.sendEvent({ type: newsEvent, payload: {} });
    })().catch((error: unknown) => {
      console.error(JSON.stringify({ level: "warning", job_id: id, cause: String(error) }));
    }),
  );
  return jobFromRecord(record);
}

export function jobFromRecord({ job, dataSet }: JobRecord): Job {
  const { versions, createdAfter, createdBefore } = job.filter;
  return {
    object: "fine_tuning.job",
    id: job.id,
    model: job.model,
    status: job.status,
    status_reason: job.statusReason,
    base_version: job.baseVersionId,
    parent_version: job.parentVersionId,
    method: TrainingMethod.parse(job.method),
    feedback: {
      ...(versions && { versions }),
      ...(createdAfter && { created_after: createdAfter }),
      ...(createdBefore && { created_before: createdBefore }),
    },
    promote: job.promote,
    seed: job.seed,
    metadata: job.metadata,
    progress: job.progress && {
      phase: job.progress.phase,
      step: job.progress.step,
      total_steps: job.progress.totalSteps,
    },
    data_set: dataSet && {
      id: dataSet.id,
      sha256: dataSet.sha256,
      size_bytes: dataSet.sizeBytes,
      counts: dataSet.counts,
      dropped: dataSet.dropped,
    },
    evaluation: evaluationOf(job),
    gate: job.gate,
    version: job.versionId,
    report_url: job.reportSha256 && `/v1/fine_tuning/jobs/${job.id}/report`,
    created_at: job.createdAt.toISOString(),
    updated_at: job.updatedAt.toISOString(),
    ended_at: job.endedAt?.toISOString() ?? null,
  };
}

/** What the job measured; null where it made no version. */
export function evaluationOf({ outcome }: Pick<JobRow, "outcome">): Evaluation | null {
  return SucceededData.safeParse((outcome as { data?: unknown } | null)?.data).data?.evaluation ?? null;
}

export function eventFromRow(row: JobEventRow): JobEvent {
  return {
    object: "fine_tuning.job.event",
    sequence: row.sequence,
    type: row.type,
    level: row.level,
    message: row.message,
    data: row.data,
    created_at: row.createdAt.toISOString(),
  };
}
