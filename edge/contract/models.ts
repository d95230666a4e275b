import { z } from "zod";
import { aliasMoves } from "../../db/value-lists.ts";
import { listOf, pageQuery } from "./shapes.ts";
import { JobId, Timestamp, VersionId } from "./ids.ts";
import { Gate, ModelName } from "./jobs.ts";
import { ArtifactFile, DataSetCounts, Evaluation, Sha256 } from "./trainer.ts";

export const AliasName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
  .meta({ description: "An alias; `production` serves requests that name the model alone.", example: "production" });

export const Alias = z
  .strictObject({
    object: z.literal("alias"),
    model: ModelName,
    alias: AliasName,
    version: VersionId,
    revision: z.int().nonnegative().meta({ description: "How often it was moved; its ETag." }),
    updated_at: Timestamp.nullable().meta({ description: "Null where it was never moved from the base." }),
  })
  .meta({ id: "Alias", description: "A name that moves from version to version." });
export type Alias = z.infer<typeof Alias>;

const Reason = z.string().trim().min(1).max(500).meta({ description: "Kept in the alias's history." });

export const AliasRequest = z
  .strictObject({
    version: VersionId,
    reason: Reason.optional(),
    override: z.boolean().default(false).meta({
      description: "Promote a version that the gate rejected; needs a reason.",
    }),
  })
  .refine(({ override, reason }) => !override || reason !== undefined, {
    path: ["reason"],
    message: "an override needs a reason",
  })
  .meta({ id: "AliasRequest", description: "Where an alias shall point." });
export type AliasRequest = z.infer<typeof AliasRequest>;

export const RollbackRequest = z
  .strictObject({ reason: Reason.optional() })
  .meta({ id: "RollbackRequest", description: "Why an alias goes back." });
export type RollbackRequest = z.infer<typeof RollbackRequest>;

export const AliasHeaders = z.object({
  "if-match": z.string().optional().meta({
    description: 'The ETag that the alias was read with, or `"0"` to make one.',
  }),
});

export const AliasMove = z
  .strictObject({
    object: z.literal("alias_move"),
    revision: z.int().min(1),
    move: z.enum(aliasMoves).meta({ description: "`set` by a caller, `promotion` by a job, `rollback`." }),
    from_version: VersionId.nullable().meta({ description: "Null where the alias was made." }),
    to_version: VersionId,
    reason: z.string(),
    override: z.boolean(),
    actor: z.string().meta({ description: "The API key or the job that did it." }),
    created_at: Timestamp,
  })
  .meta({ id: "AliasMove", description: "A move of an alias." });
export type AliasMove = z.infer<typeof AliasMove>;

export const AliasMoveList = listOf(AliasMove, "AliasMoveList");

export const Model = z
  .strictObject({
    object: z.literal("model"),
    id: ModelName,
    base_version: VersionId.meta({ description: "What every tenant begins with." }),
    aliases: z.array(Alias),
  })
  .meta({ id: "Model", description: "A model and its aliases." });
export type Model = z.infer<typeof Model>;

/** Not paged: there are a handful of models. */
export const ModelList = z
  .strictObject({ object: z.literal("list"), data: z.array(Model), has_more: z.literal(false), next_cursor: z.null() })
  .meta({ id: "ModelList", description: "All models." });

export const Version = z
  .strictObject({
    object: z.literal("version"),
    id: VersionId,
    model: ModelName,
    is_base: z.boolean(),
    manifest_sha256: Sha256,
    signature: z.string().meta({ description: "Ed25519 over the manifest's bytes, base64." }),
    files: z.array(ArtifactFile),
    base_version: VersionId.nullable().meta({ description: "Null for a base version." }),
    parent_version: VersionId.nullable(),
    job: JobId.nullable(),
    gate: Gate.nullable(),
    metrics: z.record(z.string(), z.unknown()).meta({ description: "As its manifest states them." }),
    created_at: Timestamp,
  })
  .meta({ id: "Version", description: "A model version; it never changes." });
export type Version = z.infer<typeof Version>;

export const VersionSummary = Version.omit({ files: true, metrics: true }).meta({
  id: "VersionSummary",
  description: "A model version without its files and figures.",
});
export type VersionSummary = z.infer<typeof VersionSummary>;

export const Round = z
  .strictObject({
    version: VersionId,
    is_base: z.boolean(),
    parent_version: VersionId.nullable().meta({ description: "What served when the job was made." }),
    job: JobId.nullable(),
    counts: DataSetCounts.nullable().meta({
      description: "What the job trained on; `by_version` says whose captions the thumbs are about.",
    }),
    predicted_approval: Evaluation.shape.predicted_approval.nullable(),
    gate: Gate.nullable(),
    created_at: Timestamp,
  })
  .meta({ id: "Round", description: "A version in a line of versions, and what it learnt from." });
export type Round = z.infer<typeof Round>;

export const Lineage = z
  .strictObject({
    object: z.literal("version.lineage"),
    model: ModelName,
    version: VersionId,
    base_version: VersionId.meta({ description: "What its training started from, whatever served then." }),
    rounds: z.array(Round).meta({ description: "The version itself first, a base last; 100 at most." }),
    earlier: VersionId.nullable().meta({
      description: "Whose lineage goes on where 100 rounds did not reach a base; otherwise null.",
    }),
  })
  .meta({ id: "Lineage", description: "A version, the one that served when it was begun, and so on down to a base." });
export type Lineage = z.infer<typeof Lineage>;

export const VersionList = listOf(VersionSummary, "VersionList");
export const VersionListQuery = z.strictObject(pageQuery);
export const AliasMoveQuery = z.strictObject(pageQuery);

export const BaseModelRequest = z
  .strictObject({
    manifest: z.base64().max(400_000).meta({ description: "manifest.json's raw bytes, base64." }),
    signature: z.base64().max(200).meta({ description: "Ed25519 over those bytes, base64." }),
  })
  .meta({ id: "BaseModelRequest", description: "A version to offer to every tenant." });
export type BaseModelRequest = z.infer<typeof BaseModelRequest>;

export const BaseModel = z
  .strictObject({
    object: z.literal("base_model"),
    model: ModelName,
    version: VersionId,
    manifest_sha256: Sha256,
    created_at: Timestamp,
  })
  .meta({ id: "BaseModel", description: "A version that every tenant begins with." });
export type BaseModel = z.infer<typeof BaseModel>;

export const StoredFile = z
  .strictObject({ object: z.literal("file"), sha256: Sha256, size: z.int().nonnegative() })
  .meta({ id: "StoredFile", description: "A file, stored under its digest." });
export type StoredFile = z.infer<typeof StoredFile>;

/** The answer to a callback. */
export const CallbackReceipt = z
  .strictObject({
    object: z.literal("callback_receipt"),
    repeated: z.boolean().meta({ description: "Whether it had arrived before; then nothing was done." }),
  })
  .meta({ id: "CallbackReceipt", description: "A callback was received." });
