import { and, eq, isNull, lt } from "drizzle-orm";
import { idempotencyKeys } from "../../db/tenant.ts";
import type { TenantDatabase } from "./store.ts";

const keptMilliseconds = 24 * 3600 * 1000;
// Longer than any request lasts: what is still open then died with its isolate.
const abandonedAfterMilliseconds = 2 * 60 * 1000;

export interface IdempotencyKey {
  operation: string;
  key: string;
}

export type Begun =
  | { state: "new" }
  | { state: "in_flight" }
  | { state: "reused" }
  | { state: "ended"; status: number; body: string; contentType: string };

/** Claims a key for a request, or tells what became of the first one that claimed it. */
export async function beginIdempotent(
  db: TenantDatabase,
  { operation, key, bodySha256, now }: IdempotencyKey & { bodySha256: string; now: Date },
): Promise<Begun> {
  const ago = (milliseconds: number): Date => new Date(now.getTime() - milliseconds);
  await db.delete(idempotencyKeys).where(lt(idempotencyKeys.createdAt, ago(keptMilliseconds)));
  await db
    .delete(idempotencyKeys)
    .where(and(isNull(idempotencyKeys.status), lt(idempotencyKeys.createdAt, ago(abandonedAfterMilliseconds))));
  const claimed = await db
    .insert(idempotencyKeys)
    .values({ operation, key, bodySha256, createdAt: now })
    .onConflictDoNothing()
    .returning({ key: idempotencyKeys.key });
  if (claimed.length > 0) return { state: "new" };
  const [first] = await db
    .select()
    .from(idempotencyKeys)
    .where(and(eq(idempotencyKeys.operation, operation), eq(idempotencyKeys.key, key)));
  if (!first || first.bodySha256 !== bodySha256) return { state: "reused" };
  if (first.status === null || first.body === null || first.contentType === null) return { state: "in_flight" };
  return { state: "ended", status: first.status, body: first.body, contentType: first.contentType };
}

/** Keeps the first answer. */
export async function endIdempotent(
  db: TenantDatabase,
  { operation, key, ...answer }: IdempotencyKey & { status: number; body: string; contentType: string },
): Promise<void> {
  await db
    .update(idempotencyKeys)
    .set(answer)
    .where(and(eq(idempotencyKeys.operation, operation), eq(idempotencyKeys.key, key)));
}

/** Gives a key back, so that the request may be tried again. */
export async function forgetIdempotent(db: TenantDatabase, { operation, key }: IdempotencyKey): Promise<void> {
  await db.delete(idempotencyKeys).where(and(eq(idempotencyKeys.operation, operation), eq(idempotencyKeys.key, key)));
}
