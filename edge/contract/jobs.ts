import { z } from "zod";
import { eventLevels, faults, gateVerdicts, jobEventTypes, jobStatuses, promotions } from "../../db/value-lists.ts";
import { listOf, Metadata, pageQuery } from "./shapes.ts";
import { DataSetId, JobId, Timestamp, VersionId } from "./ids.ts";
import { TrainingMethod } from "./method.ts";
import { DataSetCounts, DataSetDropped, Evaluation, Sha256 } from "./trainer.ts";

export const ModelName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
  .meta({ description: "A model's name.", example: "scenes" });

/** Which feedback a job learns from; all of it where nothing is said. */
export const FeedbackFilter = z
  .strictObject({
    versions: z.array(VersionId).min(1).max(50).optional().meta({
      description: "Only thumbs on captions of these versions.",
    }),
    created_after: Timestamp.optional().meta({ description: "Only thumbs given then or later." }),
    created_before: Timestamp.optional().meta({ description: "Only thumbs given earlier." }),
  })
  .meta({ id: "FeedbackFilter", description: "Which feedback a job learns from." });
export type FeedbackFilter = z.infer<typeof FeedbackFilter>;

const Promote = z.enum(promotions).meta({
  description:
    "`auto` moves `production` to the new version if it passes the gate and nobody moved the alias meanwhile; it needs the scope `models:promote`. `manual` leaves that to you.",
});
const Seed = z.int().min(0).max(2147483647).meta({
  description: "The same seed, feedback and base give the same version on the same hardware.",
});

export const JobRequest = z
  .strictObject({
    model: ModelName.default("scenes"),
    method: TrainingMethod.default({ type: "dico", dico: { hyperparameters: {} } }),
    feedback: FeedbackFilter.default({}),
    promote: Promote.default("manual"),
    seed: Seed.default(1),
    metadata: Metadata.default({}),
  })
  .meta({ id: "JobRequest", description: "A fine-tune job to start." });
export type JobRequest = z.infer<typeof JobRequest>;

const JobStatus = z.enum(jobStatuses).meta({
  description:
    "`rejected`: nothing was served. Either the feedback could not be learnt from, and there is no version; or the gate said no, and the version is kept but promoted only with `override` and a reason.",
});

export const StatusReason = z
  .strictObject({
    code: z.string().meta({ description: "Branch on this.", example: "TRAINER_UNAVAILABLE" }),
    message: z.string(),
    retryable: z.boolean().meta({ description: "Whether the same job may end well next time." }),
    fault: z.enum(faults).meta({ description: "Whose doing it is." }),
    help: z.array(z.string()).meta({ description: "What would help, a sentence each; empty where nothing would." }),
  })
  .meta({ id: "StatusReason", description: "Why a job is in its state." });

export const JobProgress = z
  .strictObject({
    phase: z.string(),
    step: z.int().nonnegative(),
    total_steps: z.int().nonnegative(),
  })
  .meta({ id: "JobProgress", description: "How far the present phase has come." });

/** One limit that the gate holds a version to. */
export const GateCheck = z
  .strictObject({
    name: z.string().meta({ description: "Branch on this.", example: "log_ratio" }),
    figure: z.number().meta({ description: "What was measured." }),
    limit: z.string().meta({ description: "What it is held to, in the figure's unit.", example: "at least -1.5" }),
    passed: z.boolean(),
    sentence: z.string().meta({ description: "What it means, for people." }),
  })
  .meta({ id: "GateCheck", description: "One limit that the gate holds a version to." });
export type GateCheck = z.infer<typeof GateCheck>;

/** What the gate decided about a version. */
export const Gate = z
  .strictObject({
    verdict: z.enum(gateVerdicts),
    reasons: z.array(z.string()).meta({
      description: "The sentences of the checks that it did not pass; empty where it passed.",
    }),
    checks: z.array(GateCheck).meta({ description: "All of them, passed or not." }),
  })
  .meta({ id: "Gate", description: "What the gate decided." });
export type Gate = z.infer<typeof Gate>;

export const JobDataSet = z
  .strictObject({
    id: DataSetId,
    sha256: Sha256,
    size_bytes: z.int().nonnegative(),
    counts: DataSetCounts,
    dropped: z.array(DataSetDropped),
  })
  .meta({ id: "JobDataSet", description: "The frozen feedback of a job." });

export const Job = z
  .strictObject({
    object: z.literal("fine_tuning.job"),
    id: JobId,
    model: ModelName,
    status: JobStatus,
    status_reason: StatusReason.nullable(),
    base_version: VersionId.meta({ description: "Where training starts from." }),
    parent_version: VersionId.meta({ description: "What `production` named when the job was made." }),
    method: TrainingMethod,
    feedback: FeedbackFilter,
    promote: Promote,
    seed: Seed,
    metadata: Metadata,
    progress: JobProgress.nullable(),
    data_set: JobDataSet.nullable().meta({ description: "Null until the feedback is frozen." }),
    evaluation: Evaluation.nullable().meta({ description: "Measured on held-out images; null until then." }),
    gate: Gate.nullable(),
    version: VersionId.nullable().meta({ description: "The version that it made." }),
    report_url: z.string().nullable().meta({
      description: "Where its learning report is, below this service's address; null until there is one.",
      example: "/v1/fine_tuning/jobs/ftjob-01kawz0v9n8x5q2m7c4r1t6b3d/report",
    }),
    created_at: Timestamp,
    updated_at: Timestamp,
    ended_at: Timestamp.nullable(),
  })
  .meta({ id: "Job", description: "A fine-tune job." });
export type Job = z.infer<typeof Job>;

export const JobList = listOf(Job, "JobList");
export const JobListQuery = z.strictObject({
  ...pageQuery,
  status: z.enum(jobStatuses).optional().meta({ description: "Only jobs in this state." }),
});

export const JobEvent = z
  .strictObject({
    object: z.literal("fine_tuning.job.event"),
    sequence: z.int().min(1).meta({ description: "1, 2, 3 ... of one job." }),
    type: z.enum(jobEventTypes),
    level: z.enum(eventLevels),
    message: z.string().meta({ description: "For people." }),
    data: z.record(z.string(), z.unknown()).meta({ description: "For programs; by type." }),
    created_at: Timestamp,
  })
  .meta({ id: "JobEvent", description: "Something that happened to a job." });
export type JobEvent = z.infer<typeof JobEvent>;

/** Oldest first, unlike other lists: a reader goes on where he stopped. */
export const JobEventList = z
  .strictObject({
    object: z.literal("list"),
    data: z.array(JobEvent),
    has_more: z.boolean(),
    next_cursor: z.string().nullable().meta({ description: "Pass it as `cursor` to go on; null at the end." }),
  })
  .meta({ id: "JobEventList", description: "Events, oldest first." });

export const JobEventQuery = z.strictObject({
  limit: z.coerce.number().int().min(1).max(500).default(100).meta({ description: "How many at most." }),
  cursor: z
    .string()
    .regex(/^\d{1,9}$/)
    .optional()
    .meta({ description: "The sequence of the last event seen." }),
});
