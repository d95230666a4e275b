import { z } from "zod";

/** The prefix that says what an id names. */
export const idPrefixes = {
  tenant: "tnt_",
  key: "key_",
  caption: "cap_",
  feedback: "fbk_",
  dataSet: "dst_",
  job: "ftjob-",
  request: "req_",
} as const;
export type IdKind = keyof typeof idPrefixes;

/** 26 digits of Crockford's base 32: 48 bits of time, then 80 random bits, so ids sort by age. */
const sortable = "[0-9a-hjkmnp-tv-z]{26}";

function idSchema(kind: IdKind, what: string): z.ZodString {
  return z
    .string()
    .regex(new RegExp(`^${idPrefixes[kind]}${sortable}$`))
    .meta({ description: what, example: `${idPrefixes[kind]}01kawz0v9n8x5q2m7c4r1t6b3d` });
}

export const TenantId = idSchema("tenant", "A tenant's id.");
export const KeyId = idSchema("key", "An API key's id.");
export const CaptionId = idSchema("caption", "A caption's id.");
export const FeedbackId = idSchema("feedback", "The id of a piece of feedback.");
export const DataSetId = idSchema("dataSet", "The id of a frozen data set.");
export const JobId = idSchema("job", "A fine-tune job's id.");

/** A version's id: derived from its manifest's SHA-256. */
export const VersionId = z
  .string()
  .regex(/^ver_[0-9a-f]{24}$/)
  .meta({ description: "A model version's id.", example: "ver_3f1b0c9a7d2e4f5061728394" });

/** A time as in RFC 3339, in UTC. */
export const Timestamp = z.iso.datetime().meta({ description: "RFC 3339, UTC.", example: "2026-11-24T11:12:43.000Z" });
