import { and, desc, eq, gte, inArray, lt, or } from "drizzle-orm";
import { captions, feedback, versions } from "../../db/tenant.ts";
import type { ImageMediaType, Rating } from "../../db/value-lists.ts";
import { ApiError } from "../http/errors.ts";
import { pageOf, type Page, type PageRequest } from "./page.ts";
import type { TenantDatabase } from "./store.ts";

export type FeedbackRow = typeof feedback.$inferSelect;

/** A thumb on its way in; the caption says which version it is about. */
export type NewFeedback = Omit<FeedbackRow, "versionId">;

/**
 * Stores a viewer's thumb on a caption; a second one by the same viewer replaces the first and
 * keeps its id.
 *
 * @returns The row, and whether it is new.
 * @throws CAPTION_NOT_FOUND
 */
export async function upsertFeedback(
  db: TenantDatabase,
  given: NewFeedback,
): Promise<{ row: FeedbackRow; created: boolean }> {
  // The store runs one call at a time and SQLite answers at once, so nothing comes in between.
  const [caption] = await db
    .select({ versionId: captions.versionId })
    .from(captions)
    .where(eq(captions.id, given.captionId));
  if (!caption) throw new ApiError("CAPTION_NOT_FOUND", `There is no caption ${given.captionId}.`);
  const { rating, correction, reasons, comment, updatedAt } = given;
  const [row] = await db
    .insert(feedback)
    .values({ ...given, versionId: caption.versionId })
    .onConflictDoUpdate({
      target: [feedback.captionId, feedback.endUser],
      set: { rating, correction, reasons, comment, updatedAt },
    })
    .returning();
  if (!row) throw new Error("an upsert returned no row");
  return { row, created: row.id === given.id };
}

export async function listFeedback(
  db: TenantDatabase,
  { limit, after, rating, version }: PageRequest & { rating?: Rating | undefined; version?: string | undefined },
): Promise<Page<FeedbackRow>> {
  const rows = await db
    .select()
    .from(feedback)
    .where(
      and(
        after ? lt(feedback.id, after) : undefined,
        rating ? eq(feedback.rating, rating) : undefined,
        version ? eq(feedback.versionId, version) : undefined,
      ),
    )
    .orderBy(desc(feedback.id))
    .limit(limit + 1);
  return pageOf(rows, limit);
}

/** A thumb and the caption it is about, as training needs them. */
export interface RatedCaption {
  feedbackId: string;
  endUser: string;
  rating: Rating;
  correction: string | null;
  caption: string;
  versionId: string;
  imageSha256: string;
  imageMediaType: ImageMediaType;
}

/** Which thumbs to learn from. */
export interface RatedFilter {
  model: string;
  /** The model's base versions; its others are the tenant's own. */
  baseVersions: string[];
  /** Only these of them. */
  versions?: string[] | undefined;
  createdAfter?: string | undefined;
  createdBefore?: string | undefined;
}

/** Thumbs with their captions, newest first, at most `limit`, and how many there are in all. */
export async function ratedCaptions(
  db: TenantDatabase,
  { model, baseVersions, versions: chosen, createdAfter, createdBefore }: RatedFilter,
  limit: number,
): Promise<{ ratings: RatedCaption[]; total: number }> {
  const wanted = and(
    or(
      inArray(feedback.versionId, baseVersions),
      inArray(feedback.versionId, db.select({ id: versions.id }).from(versions).where(eq(versions.model, model))),
    ),
    chosen && inArray(feedback.versionId, chosen),
    createdAfter ? gte(feedback.createdAt, new Date(createdAfter)) : undefined,
    createdBefore ? lt(feedback.createdAt, new Date(createdBefore)) : undefined,
  );
  const ratings = await db
    .select({
      feedbackId: feedback.id,
      endUser: feedback.endUser,
      rating: feedback.rating,
      correction: feedback.correction,
      caption: captions.caption,
      versionId: captions.versionId,
      imageSha256: captions.imageSha256,
      imageMediaType: captions.imageMediaType,
    })
    .from(feedback)
    .innerJoin(captions, eq(captions.id, feedback.captionId))
    .where(wanted)
    .orderBy(desc(feedback.id))
    .limit(limit);
  return { ratings, total: await db.$count(feedback, wanted) };
}
