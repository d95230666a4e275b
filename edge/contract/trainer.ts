// What the edge and a GPU worker say to each other; the worker's Python types are generated from it.
import { z } from "zod";
import { TrainingMethod } from "./method.ts";

/** 64 lower-case hexadecimal digits. */
export const Sha256 = z
  .string()
  .regex(/^[0-9a-f]{64}$/)
  .meta({ id: "Sha256", description: "A SHA-256 digest: 64 lower-case hexadecimal digits." });

const JobId = z.string().regex(/^ftjob-[0-9a-z]{10,40}$/);

const FilePath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/);

/** POST /v1/jobs of the GPU worker. */
export const TrainerJobRequest = z
  .strictObject({
    job_id: JobId,
    model: z.string().max(63),
    base_manifest_sha256: Sha256,
    parent_manifest_sha256: Sha256.nullable().meta({
      description: "The version that served when the job was made.",
    }),
    method: TrainingMethod,
    seed: z.int().min(0).max(2147483647),
    dataset: z
      .strictObject({ url: z.url(), sha256: Sha256 })
      .meta({ id: "DataSetLocation", description: "Where the frozen data set is." }),
    callback_url: z.url(),
    artifacts_url: z.url().meta({ description: "PUT and HEAD artifacts_url/{sha256}." }),
    job_token: z.string().min(16).max(256).meta({
      description: "Bearer token for everything this job reads from and sends to the edge.",
    }),
    callback_secret: z.string().min(16).max(256).meta({
      description: "Key of the callbacks' HMAC-SHA256; its UTF-8 bytes.",
    }),
  })
  .meta({ id: "TrainerJobRequest", description: "A fine-tune job as the edge submits it." });
export type TrainerJobRequest = z.infer<typeof TrainerJobRequest>;

const Change = z.strictObject({ before: z.number(), after: z.number() });
const Share = z.number().min(0).max(1);

/** What a job measured on held-out images; the gate decides by it. */
export const Evaluation = z
  .strictObject({
    examples: z.strictObject({
      train: z.int().nonnegative().meta({ description: "Thumbs; a correction is one more." }),
      held_out: z.int().nonnegative().meta({ description: "Thumbs on the images that were kept back." }),
      images: z.int().nonnegative(),
      held_out_images: z.int().nonnegative().meta({ description: "Images that were kept back." }),
    }),
    log_ratio: z.number().meta({
      description:
        "Mean over held-out images of the base's log-probability of the new top caption less that of its own.",
    }),
    predicted_approval: Change.meta({ description: "Share that the preference model expects." }),
    evaluator_score: Change.meta({ description: "Image-text evaluator's mean score." }),
    repetition: Change.meta({
      description:
        "Share of captions in which a content bigram comes twice, or a content word that stands before none other three times.",
    }),
    mean_length: Change.meta({ description: "Words per caption." }),
    liked_length: z.number().nonnegative().meta({
      description: "Words per caption that got a thumb up or was written by a viewer, over all rated images.",
    }),
    distinct: Change.meta({ description: "Different captions per image captioned." }),
    ends_on_function_word: Change.meta({
      description: "Share of captions that end on an article, a preposition or the like.",
    }),
    approval_gain: z.strictObject({ low: z.number(), high: z.number() }).meta({
      description:
        "Predicted approval after less before: 90 % interval of a paired bootstrap over the held-out images. Where it begins at 0 or below, the gain may be chance, and the gate refuses the version.",
    }),
    kl: z.number().meta({
      description: "Nats per caption between the new version and the base on held-out images: how far it has moved.",
    }),
    preference_auc: Share.meta({
      description: "Cross-validated area under the curve of the preference model.",
    }),
    held_out_thumbs_auc: Share.nullable().meta({
      description:
        "How well the new version's log-ratio to the base ranks the held-out thumbs; null where they are all alike. Decides nothing.",
    }),
    end_users: z
      .array(
        z.strictObject({
          end_user: z.string().max(256).meta({ description: "Empty for viewers without a name." }),
          thumbs: z.int().nonnegative(),
          agreement: Share.meta({ description: "Share of the thumbs that the other viewers' thumbs lead to expect." }),
          weight: Share.meta({ description: "How much each of the thumbs counted in training." }),
        }),
      )
      .max(50)
      .meta({ description: "Viewers, those with the most thumbs first." }),
    blind_spots: z
      .array(z.strictObject({ error: z.string().max(64), right: Share }))
      .max(20)
      .meta({
        description:
          "Kinds of error that the image-text evaluator tells from the truth in under 90 % of pairs, with that share.",
      }),
    warnings: z.array(z.string().max(500)).max(50),
  })
  .meta({ id: "Evaluation", description: "Held-out measurements, before and after." });
export type Evaluation = z.infer<typeof Evaluation>;

/** One file of a version, content-addressed. */
export const ArtifactFile = z
  .strictObject({ path: FilePath, sha256: Sha256, size: z.int().nonnegative() })
  .meta({ id: "ArtifactFile", description: "A file of a version." });
export type ArtifactFile = z.infer<typeof ArtifactFile>;

/** Data of a callback of type state. */
export const StateData = z
  .strictObject({ state: z.enum(["training", "evaluating", "exporting"]) })
  .meta({ id: "StateData", description: "The phase a job has entered." });

/** Data of a callback of type progress. */
export const ProgressData = z
  .strictObject({
    phase: z.string().max(64),
    step: z.int().nonnegative(),
    total_steps: z.int().nonnegative(),
    loss: z.number().nullable().optional(),
    metrics: z.record(z.string().max(64), z.number()).optional(),
  })
  .meta({ id: "ProgressData", description: "How far a phase has come." });

/** Data of a callback of type log. */
export const LogData = z
  .strictObject({ level: z.enum(["info", "warning", "error"]), message: z.string().max(2000) })
  .meta({ id: "LogData", description: "A line for the job's owner." });

/** What a learning report may weigh. */
export const maxReportBytes = 4_000_000;

/** An uploaded learning report: an artefact, but no file of the version, since it shows pictures. */
export const ReportFile = z
  .strictObject({ sha256: Sha256, size: z.int().min(1).max(maxReportBytes) })
  .meta({ id: "ReportFile", description: "Where the job's report.json lies, uploaded like a version's files." });
export type ReportFile = z.infer<typeof ReportFile>;

/** Data of the terminal callback of a job that made a version. */
export const SucceededData = z
  .strictObject({
    manifest_sha256: Sha256,
    files: z.array(ArtifactFile).min(1).max(100).meta({
      description: "The manifest's files; manifest.json itself lies under manifest_sha256.",
    }),
    signature: z.string().max(200).meta({
      description: "Ed25519 over manifest.json's bytes, base64.",
    }),
    evaluation: Evaluation,
    report: ReportFile.nullable().default(null),
  })
  .meta({ id: "SucceededData", description: "A finished version." });
export type SucceededData = z.infer<typeof SucceededData>;

const Code = z.string().regex(/^[A-Z][A-Z0-9_]{1,63}$/);

/** Data of the terminal callback of a job whose feedback cannot be learnt from. */
export const RejectedData = z
  .strictObject({
    code: Code,
    message: z.string().max(1000).meta({ description: "Why, for the job's owner." }),
    help: z.array(z.string().max(500)).max(10).meta({ description: "What would help, a sentence each." }),
    end_users: z.array(z.string().max(256)).max(20).meta({
      description: "Viewers whose thumbs contradict each other or themselves.",
    }),
    report: ReportFile.nullable().default(null),
  })
  .meta({ id: "RejectedData", description: "Too little or contradictory feedback: no version was made." });
export type RejectedData = z.infer<typeof RejectedData>;

/** Data of the terminal callback of a job that failed. */
export const FailedData = z
  .strictObject({
    code: Code,
    message: z.string().max(500).meta({ description: "Safe to show to the job's owner." }),
    retryable: z.boolean(),
  })
  .meta({ id: "FailedData", description: "Why a job made no version." });
export type FailedData = z.infer<typeof FailedData>;

const callbackHead = {
  job_id: JobId,
  sequence: z.int().min(1).meta({ description: "1, 2, 3 ... of one job; a repeat keeps its number." }),
  created_at: z.iso.datetime({ offset: true }),
};

/** One signed message of a GPU worker about a job. */
export const TrainerCallback = z
  .discriminatedUnion("type", [
    z.strictObject({ ...callbackHead, type: z.literal("state"), data: StateData }).meta({ id: "StateCallback" }),
    z
      .strictObject({ ...callbackHead, type: z.literal("progress"), data: ProgressData })
      .meta({ id: "ProgressCallback" }),
    z.strictObject({ ...callbackHead, type: z.literal("log"), data: LogData }).meta({ id: "LogCallback" }),
    z
      .strictObject({ ...callbackHead, type: z.literal("succeeded"), data: SucceededData })
      .meta({ id: "SucceededCallback" }),
    z
      .strictObject({ ...callbackHead, type: z.literal("rejected"), data: RejectedData })
      .meta({ id: "RejectedCallback" }),
    z.strictObject({ ...callbackHead, type: z.literal("failed"), data: FailedData }).meta({ id: "FailedCallback" }),
    z
      .strictObject({ ...callbackHead, type: z.literal("cancelled"), data: z.strictObject({}) })
      .meta({ id: "CancelledCallback" }),
  ])
  .meta({ id: "TrainerCallback", description: "A message about a job, by type." });
export type TrainerCallback = z.infer<typeof TrainerCallback>;

/** GET and POST /v1/jobs of the GPU worker: where it stands, with its terminal message once there. */
export const TrainerJob = z
  .strictObject({
    object: z.literal("trainer_job"),
    id: JobId,
    state: z.enum([
      "queued",
      "training",
      "evaluating",
      "exporting",
      "succeeded",
      "rejected",
      "failed",
      "cancelling",
      "cancelled",
    ]),
    last_sequence: z.int().nonnegative().meta({ description: "Number of its latest callback." }),
    created_at: z.iso.datetime({ offset: true }),
    terminal: TrainerCallback.nullable().meta({
      description: "The last callback, as it was or will be delivered; null while the job runs.",
    }),
  })
  .meta({ id: "TrainerJob", description: "A job as the GPU worker knows it." });
export type TrainerJob = z.infer<typeof TrainerJob>;

/** One viewer's thumb on one caption of an image. */
export const DataSetRating = z
  .strictObject({
    caption: z.string().min(1).max(2000),
    rating: z.enum(["up", "down"]),
    correction: z.string().min(1).max(512).nullable(),
    version: z.string().max(64),
    feedback_id: z.string().max(64),
    end_user: z.string().max(256),
  })
  .meta({ id: "DataSetRating", description: "A thumb, and the caption it is about." });
export type DataSetRating = z.infer<typeof DataSetRating>;

/** All thumbs on one image; an image is on one side of the split only. */
export const DataSetExample = z
  .strictObject({
    image: z.strictObject({
      sha256: Sha256,
      media_type: z.enum(["image/jpeg", "image/png", "image/webp"]),
      url: z.url(),
    }),
    split: z.enum(["train", "held_out"]),
    ratings: z.array(DataSetRating).min(1),
  })
  .meta({ id: "DataSetExample", description: "An image and its thumbs." });
export type DataSetExample = z.infer<typeof DataSetExample>;

/** How much a data set holds. */
export const DataSetCounts = z
  .strictObject({
    images: z.int().nonnegative(),
    train: z.int().nonnegative().meta({ description: "Images trained on." }),
    held_out: z.int().nonnegative().meta({ description: "Images kept for the gate." }),
    ratings: z.int().nonnegative(),
    up: z.int().nonnegative(),
    down: z.int().nonnegative(),
    corrections: z.int().nonnegative(),
    by_version: z.record(z.string().max(64), z.int().positive()).meta({
      description: "Ratings by the version whose caption they are about.",
    }),
  })
  .meta({ id: "DataSetCounts", description: "How much a data set holds." });
export type DataSetCounts = z.infer<typeof DataSetCounts>;

/** Ratings left out, and why. */
export const DataSetDropped = z
  .strictObject({
    reason: z.enum(["image_missing", "caption_deleted", "over_limit"]),
    count: z.int().positive(),
  })
  .meta({ id: "DataSetDropped", description: "Ratings left out, and why." });
export type DataSetDropped = z.infer<typeof DataSetDropped>;

/** The frozen feedback a job trains on; its bytes never change. */
export const DataSet = z
  .strictObject({
    object: z.literal("data_set"),
    id: z.string().max(64),
    model: z.string().max(63),
    base_manifest_sha256: Sha256,
    examples: z.array(DataSetExample).min(1),
    counts: DataSetCounts,
    dropped: z.array(DataSetDropped),
  })
  .meta({ id: "DataSet", description: "The frozen feedback a job trains on." });
export type DataSet = z.infer<typeof DataSet>;
