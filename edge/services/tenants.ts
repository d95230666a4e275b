import { desc, eq, lt } from "drizzle-orm";
import { tenants } from "../../db/directory.ts";
import type { Tenant, TenantRequest } from "../contract/tenants.ts";
import type { Deps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { pageOf, type Page, type PageRequest } from "../tenant/page.ts";

export type TenantRow = typeof tenants.$inferSelect;

export async function createTenant(deps: Deps, request: TenantRequest): Promise<Tenant> {
  const row: TenantRow = { id: deps.newId("tenant"), name: request.name, createdAt: deps.now() };
  await deps.directory.insert(tenants).values(row);
  return tenantFromRow(row);
}

/** @throws TENANT_NOT_FOUND */
export async function getTenant(deps: Deps, id: string): Promise<TenantRow> {
  const [row] = await deps.directory.select().from(tenants).where(eq(tenants.id, id));
  if (!row) throw new ApiError("TENANT_NOT_FOUND", "There is no such tenant.");
  return row;
}

export async function listTenants(deps: Deps, page: PageRequest): Promise<Page<TenantRow>> {
  const rows = await deps.directory
    .select()
    .from(tenants)
    .where(page.after ? lt(tenants.id, page.after) : undefined)
    .orderBy(desc(tenants.id))
    .limit(page.limit + 1);
  return pageOf(rows, page.limit);
}

export function tenantFromRow(row: TenantRow): Tenant {
  return { object: "tenant", id: row.id, name: row.name, created_at: row.createdAt.toISOString() };
}
