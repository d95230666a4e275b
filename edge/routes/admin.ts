import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import {
  CreatedKey,
  DeletedKey,
  KeyList,
  KeyListQuery,
  KeyRequest,
  Tenant,
  TenantList,
  TenantListQuery,
  TenantRequest,
} from "../contract/tenants.ts";
import { limitBody } from "../http/body.ts";
import type { AppEnv } from "../http/context.ts";
import { adminOnly, json, jsonBody, jsonRefusals, pathId, refusals } from "../http/openapi.ts";
import { listBody, pageRequestOf } from "../http/pages.ts";
import { createKey, deleteKey, keyFromRow, listKeys } from "../services/keys.ts";
import { createTenant, listTenants, tenantFromRow } from "../services/tenants.ts";

const tags = ["Administration"];
const tenantId = pathId("tenant_id", "The tenant's id.");

const createTenantRoute = createRoute({
  method: "post",
  path: "/admin/tenants",
  operationId: "createTenant",
  tags,
  summary: "Make a tenant",
  ...adminOnly(limitBody()),
  request: { body: jsonBody(TenantRequest) },
  responses: { 201: json(Tenant, "The tenant."), ...refusals("UNAUTHENTICATED", ...jsonRefusals) },
});

const listTenantsRoute = createRoute({
  method: "get",
  path: "/admin/tenants",
  operationId: "listTenants",
  tags,
  summary: "List tenants",
  ...adminOnly(),
  request: { query: TenantListQuery },
  responses: { 200: json(TenantList, "One page."), ...refusals("UNAUTHENTICATED", "INVALID_REQUEST") },
});

const createKeyRoute = createRoute({
  method: "post",
  path: "/admin/tenants/{tenant_id}/keys",
  operationId: "createKey",
  tags,
  summary: "Make an API key",
  ...adminOnly(limitBody()),
  request: { params: tenantId, body: jsonBody(KeyRequest) },
  responses: {
    201: json(CreatedKey, "The key, shown this once."),
    ...refusals("UNAUTHENTICATED", ...jsonRefusals, "TENANT_NOT_FOUND"),
  },
});

const listKeysRoute = createRoute({
  method: "get",
  path: "/admin/tenants/{tenant_id}/keys",
  operationId: "listKeys",
  tags,
  summary: "List a tenant's API keys",
  ...adminOnly(),
  request: { params: tenantId, query: KeyListQuery },
  responses: {
    200: json(KeyList, "One page."),
    ...refusals("UNAUTHENTICATED", "INVALID_REQUEST", "TENANT_NOT_FOUND"),
  },
});

const deleteKeyRoute = createRoute({
  method: "delete",
  path: "/admin/keys/{key_id}",
  operationId: "deleteKey",
  tags,
  summary: "Revoke an API key",
  ...adminOnly(),
  request: { params: pathId("key_id", "The key's id.") },
  responses: { 200: json(DeletedKey, "It is revoked."), ...refusals("UNAUTHENTICATED", "KEY_NOT_FOUND") },
});

export const adminRoutes = new OpenAPIHono<AppEnv>()
  .openapi(createTenantRoute, async (c) => c.json(await createTenant(c.var.deps, c.req.valid("json")), 201))
  .openapi(listTenantsRoute, async (c) => {
    const page = await listTenants(c.var.deps, pageRequestOf(c.req.valid("query")));
    return c.json(listBody(page, tenantFromRow), 200);
  })
  .openapi(createKeyRoute, async (c) => {
    const { tenant_id } = c.req.valid("param");
    return c.json(await createKey(c.var.deps, tenant_id, c.req.valid("json")), 201);
  })
  .openapi(listKeysRoute, async (c) => {
    const page = await listKeys(c.var.deps, c.req.valid("param").tenant_id, pageRequestOf(c.req.valid("query")));
    return c.json(listBody(page, keyFromRow), 200);
  })
  .openapi(deleteKeyRoute, async (c) => {
    const { key_id: id } = c.req.valid("param");
    await deleteKey(c.var.deps, id);
    return c.json({ object: "api_key" as const, id, deleted: true as const }, 200);
  });
