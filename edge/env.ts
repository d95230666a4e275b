import { z } from "zod";
import type { JobParams } from "./fine-tune/workflow.ts";
import type { TenantStore } from "./tenant/store.ts";

declare global {
  // What wrangler.toml binds; `Cloudflare.Env` is the name that workers-types gives it.
  namespace Cloudflare {
    interface Env {
      DIRECTORY: D1Database;
      OBJECTS: R2Bucket;
      TENANT: DurableObjectNamespace<TenantStore>;
      FINE_TUNE: Workflow<JobParams>;
      ADMIN_TOKEN: string;
      TRAINER_TOKEN: string;
      TRAINER_URL: string;
      PUBLIC_URL: string;
      TRUSTED_KEYS: string;
      BASE_TRUSTED_KEY: string;
    }
  }
}

const bound = <T>(name: string) =>
  z.custom<T>((value) => typeof value === "object" && value !== null, { message: `${name} is not bound` });

const Token = z.string().min(16);
/** Without a slash at the end, so that paths are appended. */
const Origin = z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/+$/, ""));
/** An Ed25519 public key: 32 bytes are 44 characters of base64. */
const PublicKey = z.string().regex(/^[A-Za-z0-9+/]{43}=$/);
const PublicKeys = z
  .string()
  .transform((list) => list.split(",").flatMap((key) => key.trim() || []))
  .pipe(z.array(PublicKey));

const Env = z
  .object({
    DIRECTORY: bound<D1Database>("DIRECTORY"),
    OBJECTS: bound<R2Bucket>("OBJECTS"),
    TENANT: bound<DurableObjectNamespace<TenantStore>>("TENANT"),
    FINE_TUNE: bound<Workflow<JobParams>>("FINE_TUNE"),
    ADMIN_TOKEN: Token,
    TRAINER_TOKEN: Token,
    TRAINER_URL: Origin,
    PUBLIC_URL: Origin,
    TRUSTED_KEYS: PublicKeys,
    BASE_TRUSTED_KEY: PublicKeys,
  })
  .transform((env) => ({
    directory: env.DIRECTORY,
    objects: env.OBJECTS,
    tenants: env.TENANT,
    fineTune: env.FINE_TUNE,
    adminToken: env.ADMIN_TOKEN,
    trainerToken: env.TRAINER_TOKEN,
    trainerUrl: env.TRAINER_URL,
    /** Where the GPU worker reaches this Worker. */
    publicUrl: env.PUBLIC_URL,
    /** Ed25519 public keys, base64: whoever holds their other half may sign versions. */
    trustedKeys: [...env.BASE_TRUSTED_KEY, ...env.TRUSTED_KEYS],
  }));
export type Env = z.output<typeof Env>;

const parsed = new WeakMap<object, Env>();

/**
 * The bindings, checked once per isolate; nothing else reads them.
 *
 * @throws Error that names each binding missing or malformed, never its value.
 */
export function readEnv(bindings: Cloudflare.Env): Env {
  const known = parsed.get(bindings);
  if (known) return known;
  const result = Env.safeParse(bindings);
  if (!result.success) {
    const faults = result.error.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`);
    throw new Error(`wrangler.toml or .dev.vars is incomplete: ${faults.join("; ")}`);
  }
  parsed.set(bindings, result.data);
  return result.data;
}
