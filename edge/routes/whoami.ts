import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import { Whoami } from "../contract/tenants.ts";
import type { TenantEnv } from "../http/context.ts";
import { json, refusals, secured } from "../http/openapi.ts";
import { getKey, keyFromRow } from "../services/keys.ts";
import { getTenant, tenantFromRow } from "../services/tenants.ts";

const whoami = createRoute({
  method: "get",
  path: "/v1/whoami",
  operationId: "whoami",
  tags: ["Account"],
  summary: "Whose key is this?",
  ...secured(null),
  responses: { 200: json(Whoami, "The tenant and the key."), ...refusals("UNAUTHENTICATED") },
});

export const whoamiRoutes = new OpenAPIHono<TenantEnv>().openapi(whoami, async (c) => {
  const { caller, deps } = c.var;
  const [tenant, key] = await Promise.all([getTenant(deps, caller.tenantId), getKey(deps, caller.keyId)]);
  return c.json({ object: "whoami" as const, tenant: tenantFromRow(tenant), key: keyFromRow(key) }, 200);
});
