// Learning reports: taken over from the GPU worker, kept under their tenant, shown with the job.
import { type JobReport, LearningReport } from "../contract/report.ts";
import { maxReportBytes, RejectedData, type ReportFile } from "../contract/trainer.ts";
import type { TenantDeps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { deleteFile, openFile } from "../storage/files.ts";
import type { JobRow } from "../tenant/jobs.ts";
import { jobFromRecord } from "./jobs.ts";

/** A report that is not as the contract says; the text is for the job's owner. */
export class ReportInvalid extends Error {
  override readonly name = "ReportInvalid";
}

/** Where a report lies: under its tenant, like the pictures that it shows. */
export function reportKey(tenantId: string, sha256: string): string {
  return `reports/${tenantId}/${sha256}`;
}

/**
 * Checks an uploaded report and moves it from the artefacts, which are nobody's, to its tenant.
 * Done again it changes nothing.
 *
 * @throws ReportInvalid
 */
export async function adoptReport(
  { env, tenantId }: Pick<TenantDeps, "env" | "tenantId">,
  { sha256, size }: ReportFile,
): Promise<void> {
  const key = reportKey(tenantId, sha256);
  if (!(await env.objects.head(key))) {
    const file = await openFile(env, sha256);
    if (!file) throw new ReportInvalid("The learning report was not uploaded.");
    if (file.size !== size || size > maxReportBytes) {
      await file.body.cancel();
      throw new ReportInvalid("The learning report does not have the size that was told.");
    }
    const bytes = await file.arrayBuffer();
    parseReport(bytes);
    await env.objects.put(key, bytes, { sha256, httpMetadata: { contentType: "application/json" } });
  }
  // Only what was read as a report gets here, so no file of a version is lost.
  await deleteFile(env, sha256);
}

function parseReport(bytes: ArrayBuffer): LearningReport {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch (error) {
    throw new ReportInvalid("The learning report is not JSON.", { cause: error });
  }
  const { data, error } = LearningReport.safeParse(json);
  if (data) return data;
  const [issue] = error.issues;
  throw new ReportInvalid(`The learning report is not valid: ${issue?.path.join(".")}: ${issue?.message}.`);
}

/**
 * What a job learnt, how, and what was decided.
 *
 * @throws JOB_NOT_FOUND | REPORT_NOT_READY
 */
export async function readReport(
  deps: Pick<TenantDeps, "env" | "tenantId" | "tenant">,
  jobId: string,
): Promise<JobReport> {
  const record = await deps.tenant.getJob(jobId);
  const { reportSha256 } = record.job;
  const stored = reportSha256 && (await deps.env.objects.get(reportKey(deps.tenantId, reportSha256)));
  if (!stored) throw new ApiError("REPORT_NOT_READY", `The job is ${record.job.status} and has no learning report.`);
  const job = jobFromRecord(record);
  return {
    object: "fine_tuning.job.report",
    job: job.id,
    model: job.model,
    status: job.status,
    status_reason: job.status_reason,
    method: job.method,
    contradicting_end_users: endUsersOf(record.job),
    gate: job.gate,
    data_set: job.data_set,
    lineage: { base_version: job.base_version, parent_version: job.parent_version, version: job.version },
    created_at: job.created_at,
    ended_at: job.ended_at,
    learning: LearningReport.parse(await stored.json()),
  };
}

function endUsersOf({ outcome }: JobRow): string[] {
  return RejectedData.safeParse((outcome as { data?: unknown } | null)?.data).data?.end_users ?? [];
}
