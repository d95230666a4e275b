import { and, desc, eq, lt } from "drizzle-orm";
import { sha256Hex } from "../../captioner/digest.ts";
import { apiKeys } from "../../db/directory.ts";
import type { CreatedKey, Key, KeyRequest } from "../contract/tenants.ts";
import { idPrefixes } from "../contract/ids.ts";
import type { Deps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { equalDigests, newSecret } from "../http/secrets.ts";
import { pageOf, type Page, type PageRequest } from "../tenant/page.ts";
import { getTenant } from "./tenants.ts";

export type KeyRow = typeof apiKeys.$inferSelect;

const keyForm = /^dico_([0-9a-z]{26})_[A-Za-z0-9_-]{43}$/;
const usedPrecisionMilliseconds = 60_000;

/**
 * Makes an API key of a tenant.
 *
 * @throws TENANT_NOT_FOUND
 */
export async function createKey(deps: Deps, tenantId: string, request: KeyRequest): Promise<CreatedKey> {
  const tenant = await getTenant(deps, tenantId);
  const key = `dico_${tenant.id.slice(idPrefixes.tenant.length)}_${newSecret()}`;
  const row: KeyRow = {
    id: deps.newId("key"),
    tenantId: tenant.id,
    name: request.name,
    digest: await digestOf(key),
    scopes: [...new Set(request.scopes)],
    createdAt: deps.now(),
    expiresAt: request.expires_at ? new Date(request.expires_at) : null,
    lastUsedAt: null,
  };
  await deps.directory.insert(apiKeys).values(row);
  return { ...keyFromRow(row), key };
}

/** The key's row, if it is valid now. */
export async function findKey(deps: Deps, key: string): Promise<KeyRow | undefined> {
  const [, tenant] = keyForm.exec(key) ?? [];
  if (!tenant) return undefined;
  const digest = await digestOf(key);
  const [row] = await deps.directory.select().from(apiKeys).where(eq(apiKeys.digest, digest));
  if (!row || !equalDigests(row.digest, digest)) return undefined;
  if (row.tenantId !== idPrefixes.tenant + tenant) return undefined;
  if (row.expiresAt && row.expiresAt <= deps.now()) return undefined;
  return row;
}

/** Notes that a key was used, at most once a minute. */
export async function markKeyUsed(deps: Deps, key: KeyRow): Promise<void> {
  const now = deps.now();
  if (key.lastUsedAt && now.getTime() - key.lastUsedAt.getTime() < usedPrecisionMilliseconds) return;
  await deps.directory.update(apiKeys).set({ lastUsedAt: now }).where(eq(apiKeys.id, key.id));
}

/** @throws KEY_NOT_FOUND */
export async function getKey(deps: Deps, id: string): Promise<KeyRow> {
  const [row] = await deps.directory.select().from(apiKeys).where(eq(apiKeys.id, id));
  if (!row) throw new ApiError("KEY_NOT_FOUND", "There is no such key.");
  return row;
}

/** @throws TENANT_NOT_FOUND */
export async function listKeys(deps: Deps, tenantId: string, page: PageRequest): Promise<Page<KeyRow>> {
  await getTenant(deps, tenantId);
  const rows = await deps.directory
    .select()
    .from(apiKeys)
    .where(and(eq(apiKeys.tenantId, tenantId), page.after ? lt(apiKeys.id, page.after) : undefined))
    .orderBy(desc(apiKeys.id))
    .limit(page.limit + 1);
  return pageOf(rows, page.limit);
}

/**
 * Revokes a key at once and for good.
 *
 * @throws KEY_NOT_FOUND
 */
export async function deleteKey(deps: Deps, id: string): Promise<void> {
  const deleted = await deps.directory.delete(apiKeys).where(eq(apiKeys.id, id)).returning({ id: apiKeys.id });
  if (deleted.length === 0) throw new ApiError("KEY_NOT_FOUND", "There is no such key.");
}

export function keyFromRow(row: KeyRow): Key {
  return {
    object: "api_key",
    id: row.id,
    tenant_id: row.tenantId,
    name: row.name,
    scopes: row.scopes,
    created_at: row.createdAt.toISOString(),
    expires_at: row.expiresAt?.toISOString() ?? null,
    last_used_at: row.lastUsedAt?.toISOString() ?? null,
  };
}

function digestOf(key: string): Promise<string> {
  return sha256Hex(new TextEncoder().encode(key));
}
