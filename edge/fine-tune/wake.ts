// A Workflow goes on after a restart of its engine only when someone touches it.
import type { Env } from "../env.ts";
import type { JobRow, NewEvent } from "../tenant/jobs.ts";
import type { JobStatus } from "../../db/value-lists.ts";

/** The Workflow event that says: look again. */
export const newsEvent = "news";

/** What becomes of a job whose Workflow has ended without it. */
export interface LostJob {
  id: string;
  to: JobStatus;
  event: NewEvent;
  changes: Partial<JobRow>;
}

/**
 * Touches the Workflow of each job, and starts it where it never was.
 *
 * @returns Jobs whose Workflow is over although they are not.
 */
export async function wakeJobs(env: Env, jobs: readonly JobRow[]): Promise<LostJob[]> {
  const lost: LostJob[] = [];
  for (const job of jobs) {
    const state = await stateOf(env, job);
    if (state === "errored" || state === "terminated" || state === "complete") lost.push(failure(job, state));
  }
  return lost;
}

async function stateOf(env: Env, { id, tenantId }: JobRow): Promise<InstanceStatus["status"]> {
  try {
    return (await (await env.fineTune.get(id)).status()).status;
  } catch {
    try {
      await env.fineTune.create({ id, params: { tenantId, jobId: id } });
    } catch (error) {
      console.error(
        JSON.stringify({ level: "error", job_id: id, message: "its Workflow does not answer", cause: String(error) }),
      );
    }
    return "unknown";
  }
}

function failure({ id, status }: JobRow, state: string): LostJob {
  if (status === "cancelling") {
    return { id, to: "cancelled", event: { type: "ended", message: "The job was cancelled." }, changes: {} };
  }
  const message = "The job was lost on our side; start it again.";
  console.error(JSON.stringify({ level: "error", job_id: id, message: `its Workflow is ${state}` }));
  return {
    id,
    to: "failed",
    event: { type: "ended", level: "error", message },
    changes: { statusReason: { code: "WORKFLOW_LOST", message, retryable: true, fault: "platform", help: [] } },
  };
}
