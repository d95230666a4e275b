// A job's learning report: what the GPU worker writes, and what the edge shows of it.
import { z } from "zod";
import { jobStatuses, ratings } from "../../db/value-lists.ts";
import { JobId, Timestamp, VersionId } from "./ids.ts";
import { Gate, JobDataSet, ModelName, StatusReason } from "./jobs.ts";
import { TrainingMethod } from "./method.ts";
import { Evaluation, Sha256 } from "./trainer.ts";

const Share = z.number().min(0).max(1);
const Text = z.string().max(1000);

export const ReportPicture = z
  .strictObject({
    sha256: Sha256,
    thumbnail: z
      .string()
      .max(20_000)
      .regex(/^data:image\/jpeg;base64,[A-Za-z0-9+/]+={0,2}$/)
      .meta({ description: "A small JPEG as a data URI." }),
    before: Text.meta({ description: "The base's caption." }),
    after: Text.meta({ description: "The new version's; the base's again where none was made." }),
    predicted_before: Share.meta({ description: "Approval that the preference model expects." }),
    predicted_after: Share,
    rating: z.enum(ratings).nullable().meta({ description: "A viewer's thumb on the picture's caption, if any." }),
    correction: Text.nullable(),
  })
  .meta({ id: "ReportPicture", description: "A picture with its captions before and after." });
export type ReportPicture = z.infer<typeof ReportPicture>;

export const ReportCurves = z
  .strictObject({
    steps: z.array(z.int().nonnegative()).max(2000),
    series: z.record(z.string().min(1).max(64), z.array(z.number()).max(2000)),
  })
  .refine(({ steps, series }) => Object.values(series).every((values) => values.length === steps.length), {
    path: ["series"],
    message: "each series needs one value per step",
  })
  .refine(({ series }) => Object.keys(series).length <= 32, { path: ["series"], message: "at most 32 series" })
  .meta({
    id: "ReportCurves",
    description:
      "Figures by training step: loss, reward, margin, kl, implicit_reward, winner_logp, gamma_entropy, distinct_candidates and the like.",
  });
export type ReportCurves = z.infer<typeof ReportCurves>;

export const ReportData = z
  .strictObject({
    images: z.int().nonnegative(),
    train: z.int().nonnegative(),
    held_out: z.int().nonnegative(),
    thumbs: z.int().nonnegative(),
    up: z.int().nonnegative(),
    down: z.int().nonnegative(),
    corrections: z.int().nonnegative(),
    candidates_per_image: z.number().nonnegative().meta({ description: "Mean over the images." }),
    dropped: z
      .array(z.strictObject({ reason: z.string().max(200), count: z.int().positive() }))
      .max(50)
      .meta({ description: "What the GPU worker could not use, and why." }),
  })
  .meta({ id: "ReportData", description: "What was trained on." });

/** report.json, as the GPU worker uploads it. */
export const LearningReport = z
  .strictObject({
    object: z.literal("learning_report"),
    pictures: z.array(ReportPicture).max(48),
    curves: ReportCurves,
    data: ReportData,
    phases: z
      .array(z.strictObject({ name: z.string().max(64), seconds: z.number().nonnegative() }))
      .max(50)
      .meta({ description: "Time by phase, in the order that they ran in." }),
    settings: z
      .record(z.string().min(1).max(64), z.union([z.number(), z.boolean(), z.string().max(200)]))
      .meta({ description: "The settings that `auto` came to." }),
    evaluation: Evaluation.nullable().meta({ description: "Null where no version was made." }),
  })
  .meta({
    id: "LearningReport",
    description: "What a job learnt and how. Holds thumbnails of the tenant's pictures and viewers' words.",
  });
export type LearningReport = z.infer<typeof LearningReport>;

export const JobReport = z
  .strictObject({
    object: z.literal("fine_tuning.job.report"),
    job: JobId,
    model: ModelName,
    status: z.enum(jobStatuses),
    status_reason: StatusReason.nullable(),
    method: TrainingMethod,
    contradicting_end_users: z.array(z.string()).meta({
      description: "Viewers whose thumbs contradict each other or themselves, where that ended the job.",
    }),
    gate: Gate.nullable(),
    data_set: JobDataSet.nullable(),
    lineage: z.strictObject({
      base_version: VersionId,
      parent_version: VersionId,
      version: VersionId.nullable().meta({ description: "The version that the job made." }),
    }),
    created_at: Timestamp,
    ended_at: Timestamp.nullable(),
    learning: LearningReport,
  })
  .meta({
    id: "JobReport",
    description:
      "What a job learnt, how, and what was decided. Holds thumbnails of your pictures and your viewers' words; it is stored with your tenant's data and with nobody else's.",
  });
export type JobReport = z.infer<typeof JobReport>;

export const JobReportQuery = z.strictObject({
  format: z.enum(["json", "html"]).optional().meta({ description: "Wins over the header Accept." }),
});
