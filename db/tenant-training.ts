// The part of a tenant's records that training writes: data sets, jobs, versions, aliases.
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type {
  AliasMove,
  DropReason,
  EventLevel,
  Fault,
  GateVerdict,
  JobEventType,
  JobStatus,
  Promotion,
} from "./value-lists.ts";

/** Feedback that a job learns from; what is left out does not narrow it. */
export interface StoredFeedbackFilter {
  versions?: string[] | undefined;
  createdAfter?: string | undefined;
  createdBefore?: string | undefined;
}

/** Why a job is in its state. */
export interface StoredReason {
  code: string;
  message: string;
  retryable: boolean;
  fault: Fault;
  /** What would help, a sentence each. */
  help: string[];
}

/** What the gate decided, check by check. */
export interface StoredGate {
  verdict: GateVerdict;
  reasons: string[];
  checks: { name: string; figure: number; limit: string; passed: boolean; sentence: string }[];
}

/** How far the phase of a job has come. */
export interface StoredProgress {
  phase: string;
  step: number;
  totalSteps: number;
}

/** How much a data set holds. */
export interface StoredCounts {
  images: number;
  train: number;
  held_out: number;
  ratings: number;
  up: number;
  down: number;
  corrections: number;
  by_version: Record<string, number>;
}

/** Frozen feedback; the bytes are in the object store under their digest. */
export const dataSets = sqliteTable("data_sets", {
  id: text().primaryKey(),
  jobId: text("job_id").notNull().unique(),
  sha256: text().notNull(),
  sizeBytes: integer("size_bytes").notNull(),
  counts: text({ mode: "json" }).$type<StoredCounts>().notNull(),
  dropped: text({ mode: "json" }).$type<{ reason: DropReason; count: number }[]>().notNull(),
  createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
});

export const jobs = sqliteTable(
  "jobs",
  {
    id: text().primaryKey(),
    /** The alarm, which no request brings, finds here whose store it is in. */
    tenantId: text("tenant_id").notNull(),
    model: text().notNull(),
    /** The version that training starts from and keeps to. */
    baseVersionId: text("base_version_id").notNull(),
    baseManifestSha256: text("base_manifest_sha256").notNull(),
    /** The version that `production` named when the job was made. */
    parentVersionId: text("parent_version_id").notNull(),
    parentManifestSha256: text("parent_manifest_sha256").notNull(),
    /** As the contract writes it. */
    method: text({ mode: "json" }).$type<unknown>().notNull(),
    seed: integer().notNull(),
    promote: text().$type<Promotion>().notNull(),
    filter: text({ mode: "json" }).$type<StoredFeedbackFilter>().notNull(),
    metadata: text({ mode: "json" }).$type<Record<string, string>>().notNull(),
    status: text().$type<JobStatus>().notNull(),
    statusReason: text("status_reason", { mode: "json" }).$type<StoredReason>(),
    progress: text({ mode: "json" }).$type<StoredProgress>(),
    /** The GPU worker's last word, as the contract writes it; null while it works. */
    outcome: text({ mode: "json" }).$type<unknown>(),
    gate: text({ mode: "json" }).$type<StoredGate>(),
    versionId: text("version_id"),
    /** The learning report, in the object store under its tenant; set when the job ends. */
    reportSha256: text("report_sha256"),
    /** What the GPU worker proves itself with towards us; never shown. */
    token: text().notNull(),
    callbackSecret: text("callback_secret").notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
    updatedAt: integer("updated_at", { mode: "timestamp_ms" }).notNull(),
    endedAt: integer("ended_at", { mode: "timestamp_ms" }),
  },
  (table) => [index("jobs_status").on(table.status)],
);

/** All that happened to a job, numbered from 1. */
export const jobEvents = sqliteTable(
  "job_events",
  {
    jobId: text("job_id")
      .notNull()
      .references(() => jobs.id),
    sequence: integer().notNull(),
    /** The callback's own number, where one brought the event. */
    callbackSequence: integer("callback_sequence"),
    type: text().$type<JobEventType>().notNull(),
    level: text().$type<EventLevel>().notNull(),
    message: text().notNull(),
    data: text({ mode: "json" }).$type<Record<string, unknown>>().notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.jobId, table.sequence] }),
    uniqueIndex("job_events_callback").on(table.jobId, table.callbackSequence),
  ],
);

/** Versions that the tenant's jobs made; its base versions are in the directory. */
export const versions = sqliteTable(
  "versions",
  {
    id: text().primaryKey(),
    model: text().notNull(),
    manifestSha256: text("manifest_sha256").notNull(),
    signature: text().notNull(),
    baseVersionId: text("base_version_id").notNull(),
    parentVersionId: text("parent_version_id").notNull(),
    jobId: text("job_id").notNull(),
    dataSetId: text("data_set_id").notNull(),
    gate: text({ mode: "json" }).$type<StoredGate>().notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [index("versions_model").on(table.model, table.createdAt)],
);

/** Names that move from version to version. */
export const aliases = sqliteTable(
  "aliases",
  {
    model: text().notNull(),
    alias: text().notNull(),
    versionId: text("version_id").notNull(),
    /** Counts the moves; the ETag. */
    revision: integer().notNull(),
    updatedAt: integer("updated_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.model, table.alias] })],
);

/** Every move of an alias. */
export const aliasMoves = sqliteTable(
  "alias_moves",
  {
    model: text().notNull(),
    alias: text().notNull(),
    revision: integer().notNull(),
    move: text().$type<AliasMove>().notNull(),
    /** Null where the alias was made. */
    fromVersionId: text("from_version_id"),
    toVersionId: text("to_version_id").notNull(),
    reason: text().notNull(),
    /** Whether the gate's verdict was overruled. */
    override: integer({ mode: "boolean" }).notNull(),
    /** The API key or the job that did it. */
    actor: text().notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.model, table.alias, table.revision] })],
);
