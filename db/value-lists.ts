/** What a viewer may say of a caption. */
export const ratings = ["up", "down"] as const;
export type Rating = (typeof ratings)[number];

/** Why a viewer gave a thumb; more than one may apply. */
export const feedbackReasons = ["wrong", "incomplete", "too_long", "too_short", "style", "offensive", "other"] as const;
export type FeedbackReason = (typeof feedbackReasons)[number];

/**
 * What an API key may do. `feedback:write` reads nothing, so it may be shown to a browser; `admin`
 * includes all others.
 */
export const scopes = [
  "captions:write",
  "feedback:write",
  "jobs:write",
  "models:read",
  "models:promote",
  "admin",
] as const;
export type Scope = (typeof scopes)[number];

/** The image formats that are read. */
export const imageMediaTypes = ["image/jpeg", "image/png", "image/webp"] as const;
export type ImageMediaType = (typeof imageMediaTypes)[number];

/** The states of a fine-tune job; `jobTransitions` says which follows which. */
export const jobStatuses = [
  "validating",
  "queued",
  "training",
  "evaluating",
  "exporting",
  "verifying",
  "succeeded",
  "rejected",
  "cancelling",
  "cancelled",
  "failed",
] as const;
export type JobStatus = (typeof jobStatuses)[number];

/**
 * Which state may follow which. A state may be skipped, since callbacks may be late; none is
 * entered twice. From `verifying` on the outcome is there and cannot be cancelled any more.
 */
export const jobTransitions: Readonly<Record<JobStatus, readonly JobStatus[]>> = {
  validating: ["queued", "rejected", "cancelling", "failed"],
  queued: ["training", "evaluating", "exporting", "verifying", "rejected", "cancelling", "failed"],
  training: ["evaluating", "exporting", "verifying", "rejected", "cancelling", "failed"],
  evaluating: ["exporting", "verifying", "rejected", "cancelling", "failed"],
  exporting: ["verifying", "rejected", "cancelling", "failed"],
  verifying: ["succeeded", "rejected", "failed"],
  cancelling: ["cancelled"],
  succeeded: [],
  rejected: [],
  cancelled: [],
  failed: [],
};

/** Whose fault it is that a job made no version. */
export const faults = ["user", "platform", "provider"] as const;
export type Fault = (typeof faults)[number];

/** What happens to a job. */
export const jobEventTypes = [
  "created",
  "data_set_frozen",
  "submitted",
  "state",
  "progress",
  "log",
  "outcome",
  "verified",
  "gate",
  "published",
  "alias",
  "cancel_requested",
  "ended",
] as const;
export type JobEventType = (typeof jobEventTypes)[number];

export const eventLevels = ["info", "warning", "error"] as const;
export type EventLevel = (typeof eventLevels)[number];

/** Whether a job moves `production` to its version by itself. */
export const promotions = ["auto", "manual"] as const;
export type Promotion = (typeof promotions)[number];

export const gateVerdicts = ["passed", "rejected"] as const;
export type GateVerdict = (typeof gateVerdicts)[number];

/** How an alias came to name a version. */
export const aliasMoves = ["set", "promotion", "rollback"] as const;
export type AliasMove = (typeof aliasMoves)[number];

/** Why ratings are left out of a data set. */
export const dropReasons = ["image_missing", "caption_deleted", "over_limit"] as const;
export type DropReason = (typeof dropReasons)[number];
