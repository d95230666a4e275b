import { unwrap, type Result } from "./result.ts";
import type { TenantStore } from "./store.ts";

type Value<T> = T extends Promise<Result<infer V>> ? V : never;

/** A tenant's store as its callers see it: each call answers with its value or throws its ApiError. */
export type Tenant = {
  [
    Name in keyof TenantStore as TenantStore[Name] extends (...args: never[]) => Promise<Result<unknown>> ? Name : never
  ]: TenantStore[Name] extends (...args: infer Args) => infer Answer
    ? (...args: Args) => Promise<Value<Answer>>
    : never;
};

type Call = (...args: unknown[]) => Promise<Result<unknown>>;

/** Opens the store of a tenant; the first call makes it. */
export function openTenant(namespace: DurableObjectNamespace<TenantStore>, tenantId: string): Tenant {
  // The stub answers any name with a remote method, and `Tenant` lists those that exist.
  const stub = namespace.getByName(tenantId) as unknown as { [name: string]: Call };
  return new Proxy({} as Tenant, {
    get: (_, name) => {
      // A promise's `then` is looked for on whatever is awaited.
      if (typeof name !== "string" || name === "then") return undefined;
      return async (...args: unknown[]) => {
        const { [name]: call } = stub;
        if (!call) throw new TypeError(`the tenant store has no ${name}`);
        return unwrap(await Reflect.apply(call, stub, args));
      };
    },
  });
}
