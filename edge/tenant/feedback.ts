import { and, desc, eq, lt } from "drizzle-orm";
import { captions, feedback } from "../../db/tenant.ts";
import type { Rating } from "../../db/value-lists.ts";
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
