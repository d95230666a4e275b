import type { MiddlewareHandler } from "hono";
import type { Scope } from "../../db/value-lists.ts";
import { findKey, markKeyUsed } from "../services/keys.ts";
import type { AppEnv, TenantEnv } from "./context.ts";
import { ApiError } from "./errors.ts";
import { equalSecrets } from "./secrets.ts";

/**
 * Lets a request pass whose key has the scope (null: any key) and opens its tenant's store.
 *
 * @throws UNAUTHENTICATED | SCOPE_MISSING
 */
export function requireScope(scope: Scope | null): MiddlewareHandler<TenantEnv> {
  return async (c, next) => {
    const { deps } = c.var;
    const key = await findKey(deps, bearerOf(c.req.header("authorization")));
    if (!key) throw new ApiError("UNAUTHENTICATED", "Send a valid key as `Authorization: Bearer dico_…`.");
    if (scope && !key.scopes.includes(scope) && !key.scopes.includes("admin")) {
      throw new ApiError("SCOPE_MISSING", `This key lacks the scope ${scope}.`);
    }
    deps.defer(markKeyUsed(deps, key));
    c.set("caller", { tenantId: key.tenantId, keyId: key.id, scopes: key.scopes });
    c.set("tenantDeps", { ...deps, tenantId: key.tenantId, tenant: deps.openTenant(key.tenantId) });
    await next();
  };
}

/**
 * Lets the operator pass.
 *
 * @throws UNAUTHENTICATED
 */
export function requireAdmin(): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const given = bearerOf(c.req.header("authorization"));
    if (!(await equalSecrets(given, c.var.deps.env.adminToken))) {
      throw new ApiError("UNAUTHENTICATED", "Send the operator's token as `Authorization: Bearer …`.");
    }
    await next();
  };
}

/** The token of an Authorization header; empty where there is none. */
export function bearerOf(header: string | undefined): string {
  return /^Bearer +([^\s]+)$/i.exec(header ?? "")?.[1] ?? "";
}
