import { and, desc, eq, lt } from "drizzle-orm";
import { captions } from "../../db/tenant.ts";
import { ApiError } from "../http/errors.ts";
import { pageOf, type Page, type PageRequest } from "./page.ts";
import type { TenantDatabase } from "./store.ts";

export type CaptionRow = typeof captions.$inferSelect;

export async function insertCaption(db: TenantDatabase, caption: CaptionRow): Promise<void> {
  await db.insert(captions).values(caption);
}

export async function listCaptions(
  db: TenantDatabase,
  { limit, after, version }: PageRequest & { version?: string | undefined },
): Promise<Page<CaptionRow>> {
  const rows = await db
    .select()
    .from(captions)
    .where(and(after ? lt(captions.id, after) : undefined, version ? eq(captions.versionId, version) : undefined))
    .orderBy(desc(captions.id))
    .limit(limit + 1);
  return pageOf(rows, limit);
}

/** @throws CAPTION_NOT_FOUND */
export async function getCaption(db: TenantDatabase, id: string): Promise<CaptionRow> {
  const [row] = await db.select().from(captions).where(eq(captions.id, id));
  if (!row) throw new ApiError("CAPTION_NOT_FOUND", `There is no caption ${id}.`);
  return row;
}

/**
 * Deletes a caption and its feedback.
 *
 * @returns The digest of its image if no other caption shows it, so that it may go too.
 * @throws CAPTION_NOT_FOUND
 */
export async function deleteCaption(db: TenantDatabase, id: string): Promise<string | undefined> {
  const [deleted] = await db
    .delete(captions)
    .where(eq(captions.id, id))
    .returning({ imageSha256: captions.imageSha256 });
  if (!deleted) throw new ApiError("CAPTION_NOT_FOUND", `There is no caption ${id}.`);
  const [other] = await db
    .select({ id: captions.id })
    .from(captions)
    .where(eq(captions.imageSha256, deleted.imageSha256))
    .limit(1);
  return other ? undefined : deleted.imageSha256;
}
