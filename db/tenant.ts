// One tenant's records, in the SQLite of its Durable Object.
import { index, integer, primaryKey, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { FeedbackReason, ImageMediaType, Rating } from "./value-lists.ts";

/** One candidate of a beam search, as it was served. */
export interface StoredCandidate {
  caption: string;
  score: number;
  logProbability: number;
  finished: boolean;
}

export const captions = sqliteTable(
  "captions",
  {
    id: text().primaryKey(),
    model: text().notNull(),
    versionId: text("version_id").notNull(),
    caption: text().notNull(),
    candidates: text({ mode: "json" }).$type<StoredCandidate[]>().notNull(),
    imageSha256: text("image_sha256").notNull(),
    imageMediaType: text("image_media_type").$type<ImageMediaType>().notNull(),
    imageSizeBytes: integer("image_size_bytes").notNull(),
    imageWidth: integer("image_width").notNull(),
    imageHeight: integer("image_height").notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [index("captions_image").on(table.imageSha256), index("captions_version").on(table.versionId, table.id)],
);

export const feedback = sqliteTable(
  "feedback",
  {
    id: text().primaryKey(),
    captionId: text("caption_id")
      .notNull()
      .references(() => captions.id, { onDelete: "cascade" }),
    /** Empty for the viewer without a name, so that there is one of him per caption. */
    endUser: text("end_user").notNull(),
    versionId: text("version_id").notNull(),
    rating: text().$type<Rating>().notNull(),
    correction: text(),
    reasons: text({ mode: "json" }).$type<FeedbackReason[]>().notNull(),
    comment: text(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
    updatedAt: integer("updated_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [
    uniqueIndex("feedback_caption_end_user").on(table.captionId, table.endUser),
    index("feedback_version").on(table.versionId, table.id),
  ],
);

/** First answers to requests that carried an Idempotency-Key. */
export const idempotencyKeys = sqliteTable(
  "idempotency_keys",
  {
    /** Method and path. */
    operation: text().notNull(),
    key: text().notNull(),
    bodySha256: text("body_sha256").notNull(),
    /** Null while the first request is at work. */
    status: integer(),
    body: text(),
    contentType: text("content_type"),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [primaryKey({ columns: [table.operation, table.key] }), index("idempotency_keys_age").on(table.createdAt)],
);

export * from "./tenant-training.ts";
