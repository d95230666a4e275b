import { and, asc, desc, eq, gt, inArray, lt, max } from "drizzle-orm";
import { dataSets, jobEvents, jobs } from "../../db/tenant.ts";
import { jobStatuses, jobTransitions, type JobStatus } from "../../db/value-lists.ts";
import type { TrainerCallback } from "../contract/trainer.ts";
import { ApiError } from "../http/errors.ts";
import { pageOf, type Page, type PageRequest } from "./page.ts";
import type { TenantDatabase } from "./store.ts";

export type JobRow = typeof jobs.$inferSelect;
export type DataSetRow = typeof dataSets.$inferSelect;
export type JobEventRow = typeof jobEvents.$inferSelect;
/** An event on its way in; its number is given by the store. */
export type NewEvent = Pick<JobEventRow, "type" | "message"> &
  Partial<Pick<JobEventRow, "level" | "data" | "callbackSequence">>;

/** A job and what it trained on. */
export interface JobRecord {
  job: JobRow;
  dataSet: DataSetRow | null;
}

const activeStatuses = jobStatuses.filter((status) => jobTransitions[status].length > 0);

export function isActive(job: Pick<JobRow, "status">): boolean {
  return activeStatuses.includes(job.status);
}

export function insertJob(db: TenantDatabase, row: JobRow): void {
  db.transaction(() => {
    db.insert(jobs).values(row).run();
    addEvent(db, row.id, { type: "created", message: "The job was made." }, row.createdAt);
  });
}

/** @throws JOB_NOT_FOUND */
export function getJob(db: TenantDatabase, id: string): JobRow {
  const row = db.select().from(jobs).where(eq(jobs.id, id)).get();
  if (!row) throw new ApiError("JOB_NOT_FOUND", `There is no job ${id}.`);
  return row;
}

/** @throws JOB_NOT_FOUND */
export function getJobRecord(db: TenantDatabase, id: string): JobRecord {
  return { job: getJob(db, id), dataSet: db.select().from(dataSets).where(eq(dataSets.jobId, id)).get() ?? null };
}

export function listJobs(
  db: TenantDatabase,
  { limit, after, status }: PageRequest & { status?: JobStatus | undefined },
): Page<JobRecord & { id: string }> {
  const rows = db
    .select()
    .from(jobs)
    .leftJoin(dataSets, eq(dataSets.jobId, jobs.id))
    .where(and(after ? lt(jobs.id, after) : undefined, status ? eq(jobs.status, status) : undefined))
    .orderBy(desc(jobs.id))
    .limit(limit + 1)
    .all();
  return pageOf(
    rows.map((row) => ({ id: row.jobs.id, job: row.jobs, dataSet: row.data_sets })),
    limit,
  );
}

/** Jobs that have not ended. */
export function activeJobs(db: TenantDatabase): JobRow[] {
  return db.select().from(jobs).where(inArray(jobs.status, activeStatuses)).all();
}

/** Events after a number, oldest first. @throws JOB_NOT_FOUND */
export function listEvents(
  db: TenantDatabase,
  { jobId, limit, after }: { jobId: string; limit: number; after: number },
): Page<JobEventRow> {
  getJob(db, jobId);
  const rows = db
    .select()
    .from(jobEvents)
    .where(and(eq(jobEvents.jobId, jobId), gt(jobEvents.sequence, after)))
    .orderBy(asc(jobEvents.sequence))
    .limit(limit + 1)
    .all();
  return pageOf(rows, limit);
}

/**
 * Moves a job on, if its state allows that; where it does not, nothing happens.
 *
 * @returns Whether it moved.
 */
export function advanceJob(
  db: TenantDatabase,
  { id, to, event, changes, now }: { id: string; to: JobStatus; event: NewEvent; changes?: Partial<JobRow>; now: Date },
): boolean {
  return db.transaction(() => {
    const job = getJob(db, id);
    if (!jobTransitions[job.status].includes(to)) return false;
    const ends = jobTransitions[to].length === 0;
    db.update(jobs)
      .set({ ...changes, status: to, updatedAt: now, ...(ends && { endedAt: now, progress: null }) })
      .where(eq(jobs.id, id))
      .run();
    addEvent(db, id, event, now);
    return true;
  });
}

/** Notes the data set of a job; the first one stays, so that a step run twice freezes once. */
export function recordDataSet(db: TenantDatabase, row: DataSetRow): DataSetRow {
  return db.transaction(() => {
    const known = db.select().from(dataSets).where(eq(dataSets.jobId, row.jobId)).get();
    if (known) return known;
    db.insert(dataSets).values(row).run();
    const { images, held_out, up, down } = row.counts;
    const message = `Froze ${images} images with ${up} thumbs up and ${down} down; ${held_out} images are held out.`;
    addEvent(
      db,
      row.jobId,
      { type: "data_set_frozen", message, data: { id: row.id, counts: row.counts } },
      row.createdAt,
    );
    return row;
  });
}

/**
 * Takes in what the GPU worker says; a callback that arrived before changes nothing, and a late
 * one never sets a job back.
 *
 * @returns Whether it had arrived before, and the job as it is now.
 * @throws JOB_ENDED when it is news of a job that has ended.
 */
export function recordCallback(
  db: TenantDatabase,
  callback: TrainerCallback,
  now: Date,
): { repeated: boolean; job: JobRow } {
  return db.transaction(() => {
    const job = getJob(db, callback.job_id);
    const events = db.select({ latest: max(jobEvents.callbackSequence) }).from(jobEvents);
    const ofJob = eq(jobEvents.jobId, job.id);
    const known = db
      .select({ sequence: jobEvents.sequence })
      .from(jobEvents)
      .where(and(ofJob, eq(jobEvents.callbackSequence, callback.sequence)))
      .get();
    if (known) return { repeated: true, job };
    if (!isActive(job)) throw new ApiError("JOB_ENDED", `The job has ended: it is ${job.status}.`);
    const latest = events.where(ofJob).get()?.latest ?? 0;
    const changes = changesBy(callback, job, callback.sequence > latest);
    db.update(jobs)
      .set({ ...changes, updatedAt: now })
      .where(eq(jobs.id, job.id))
      .run();
    addEvent(db, job.id, { ...eventOf(callback), callbackSequence: callback.sequence }, now);
    return { repeated: false, job: getJob(db, job.id) };
  });
}

function changesBy(callback: TrainerCallback, job: JobRow, isLatest: boolean): Partial<JobRow> {
  switch (callback.type) {
    case "state": {
      const { state } = callback.data;
      return jobTransitions[job.status].includes(state) && !job.outcome ? { status: state, progress: null } : {};
    }
    case "progress": {
      const { phase, step, total_steps: totalSteps } = callback.data;
      return isLatest && !job.outcome ? { progress: { phase, step, totalSteps } } : {};
    }
    case "log":
      return {};
    case "succeeded":
    case "rejected":
    case "failed":
    case "cancelled":
      return job.outcome ? {} : { outcome: callback };
  }
}

function eventOf(callback: TrainerCallback): NewEvent {
  switch (callback.type) {
    case "state":
      return { type: "state", message: `The GPU worker is ${callback.data.state}.`, data: callback.data };
    case "progress": {
      const { phase, step, total_steps } = callback.data;
      return { type: "progress", message: `${phase}: ${step} of ${total_steps}`, data: callback.data };
    }
    case "log":
      return { type: "log", ...callback.data, data: {} };
    case "succeeded":
      return {
        type: "outcome",
        message: "The GPU worker finished a version.",
        data: { manifest_sha256: callback.data.manifest_sha256 },
      };
    case "rejected": {
      const { code, message, help, end_users } = callback.data;
      return { type: "outcome", level: "warning", message, data: { code, help, end_users } };
    }
    case "failed":
      return { type: "outcome", level: "error", message: callback.data.message, data: callback.data };
    case "cancelled":
      return { type: "outcome", message: "The GPU worker stopped the job." };
  }
}

/**
 * Asks a job to stop; asking again changes nothing.
 *
 * @throws JOB_NOT_FOUND | JOB_CONFLICT when it has ended or its outcome is being checked.
 */
export function requestCancel(db: TenantDatabase, id: string, now: Date): JobRecord {
  const event = { type: "cancel_requested", message: "The job was asked to stop." } as const;
  const moved = advanceJob(db, { id, to: "cancelling", event, now });
  const record = getJobRecord(db, id);
  if (!moved && record.job.status !== "cancelling") {
    throw new ApiError("JOB_CONFLICT", `A job that is ${record.job.status} cannot be cancelled.`);
  }
  return record;
}

/** Adds to a job's events. */
export function addEvent(db: TenantDatabase, jobId: string, event: NewEvent, now: Date): void {
  const last = db
    .select({ sequence: max(jobEvents.sequence) })
    .from(jobEvents)
    .where(eq(jobEvents.jobId, jobId))
    .get();
  const sequence = (last?.sequence ?? 0) + 1;
  db.insert(jobEvents)
    .values({ level: "info", data: {}, callbackSequence: null, ...event, jobId, sequence, createdAt: now })
    .run();
}
