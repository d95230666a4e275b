import type { DrizzleD1Database } from "drizzle-orm/d1";
import type { Captioner } from "../../captioner/index.ts";
import type { Scope } from "../../db/value-lists.ts";
import type { IdKind } from "../contract/ids.ts";
import type { Env } from "../env.ts";
import type { Tenant } from "../tenant/client.ts";

/** Everything a service may use; handed in, never imported. */
export interface Deps {
  env: Env;
  directory: DrizzleD1Database;
  captioner: Captioner;
  /** Opens a tenant's store. */
  openTenant(tenantId: string): Tenant;
  fetch: typeof fetch;
  /** All addresses of a host name. */
  resolveHost(hostname: string): Promise<string[]>;
  now(): Date;
  newId(kind: IdKind): string;
  requestId: string;
  /** Lets work go on after the answer. */
  defer(work: Promise<unknown>): void;
}

/** The API key of a request. */
export interface Caller {
  tenantId: string;
  keyId: string;
  scopes: readonly Scope[];
}

/** What a tenant's services use besides. */
export interface TenantDeps extends Deps {
  tenantId: string;
  tenant: Tenant;
}

export interface AppEnv {
  Bindings: Cloudflare.Env;
  Variables: {
    requestId: string;
    deps: Deps;
    /** The body of a request that `limitBody` has read. */
    body: Uint8Array<ArrayBuffer>;
  };
}

/** The variables behind `requireScope`. */
export interface TenantEnv {
  Bindings: Cloudflare.Env;
  Variables: AppEnv["Variables"] & { caller: Caller; tenantDeps: TenantDeps };
}
