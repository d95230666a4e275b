// A Workflow goes on after a restart of its engine only when someone touches it, and looks for an
// outcome only when someone has news or none came for too long.
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

/** How often a tenant with unfinished jobs looks after them. */
export const wakeMilliseconds = 15_000;

/**
 * Touches the Workflow of each job, starts it where it never was, and lets it ask the GPU worker
 * where nothing was heard for long.
 *
 * @returns Jobs whose Workflow is over although they are not.
 */
export async function wakeJobs(env: Env, jobs: readonly JobRow[], now: Date): Promise<LostJob[]> {
  const lost: LostJob[] = [];
  for (const job of jobs) {
    const state = await touch(env, job, now);
    if (isOver(state)) lost.push(failure(job, state));
  }
  return lost;
}

/**
 * Whether a job has just been silent for its patience, or for twice, four times, eight times that:
 * 20 seconds for a new job, a sixteenth of the age that an old one had when it last spoke.
 */
export function isOverdue({ createdAt, updatedAt }: Pick<JobRow, "createdAt" | "updatedAt">, now: Date): boolean {
  const patience = Math.max(20_000, (updatedAt.getTime() - createdAt.getTime()) / 16);
  const doublings = (silence: number): number => Math.floor(Math.log2(Math.max(silence, patience / 2) / patience));
  const silence = now.getTime() - updatedAt.getTime();
  return doublings(silence) > doublings(silence - wakeMilliseconds);
}

async function touch(env: Env, job: JobRow, now: Date): Promise<InstanceStatus["status"]> {
  try {
    const instance = await env.fineTune.get(job.id);
    const { status } = await instance.status();
    if (!isOver(status) && isOverdue(job, now)) {
      // It may end meanwhile; whoever is still unfinished is asked again.
      await instance.sendEvent({ type: newsEvent, payload: {} }).catch(complaint(job, "its Workflow took no news"));
    }
    return status;
  } catch {
    const params = { tenantId: job.tenantId, jobId: job.id };
    await env.fineTune.create({ id: job.id, params }).catch(complaint(job, "its Workflow does not answer"));
    return "unknown";
  }
}

function complaint({ id }: JobRow, message: string): (cause: unknown) => void {
  return (cause) => console.error(JSON.stringify({ level: "error", job_id: id, message, cause: String(cause) }));
}

function isOver(state: InstanceStatus["status"]): boolean {
  return state === "errored" || state === "terminated" || state === "complete";
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
