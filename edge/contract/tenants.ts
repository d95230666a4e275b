import { z } from "zod";
import { scopes } from "../../db/value-lists.ts";
import { deletedOf, listOf, pageQuery } from "./shapes.ts";
import { KeyId, TenantId, Timestamp } from "./ids.ts";

const Name = z.string().trim().min(1).max(128).meta({ description: "For people." });
const Scopes = z
  .array(z.enum(scopes))
  .min(1)
  .max(scopes.length)
  .meta({ description: "What the key may do; `admin` includes all others." });

export const TenantRequest = z
  .strictObject({ name: Name })
  .meta({ id: "TenantRequest", description: "A tenant to make." });
export type TenantRequest = z.infer<typeof TenantRequest>;

export const Tenant = z
  .strictObject({ object: z.literal("tenant"), id: TenantId, name: Name, created_at: Timestamp })
  .meta({ id: "Tenant", description: "A customer, whose captions, feedback and versions are its own." });
export type Tenant = z.infer<typeof Tenant>;

export const TenantList = listOf(Tenant, "TenantList");
export const TenantListQuery = z.strictObject(pageQuery);
export type TenantListQuery = z.infer<typeof TenantListQuery>;

export const KeyRequest = z
  .strictObject({
    name: Name,
    scopes: Scopes,
    expires_at: Timestamp.optional().meta({ description: "From then on the key is refused." }),
  })
  .meta({ id: "KeyRequest", description: "An API key to make." });
export type KeyRequest = z.infer<typeof KeyRequest>;

const keyFields = {
  object: z.literal("api_key"),
  id: KeyId,
  tenant_id: TenantId,
  name: Name,
  scopes: Scopes,
  created_at: Timestamp,
  expires_at: Timestamp.nullable(),
  last_used_at: Timestamp.nullable().meta({ description: "To the minute." }),
};

export const Key = z.strictObject(keyFields).meta({ id: "Key", description: "An API key, without its secret." });
export type Key = z.infer<typeof Key>;

export const CreatedKey = z
  .strictObject({
    ...keyFields,
    key: z.string().meta({ description: "The key itself; shown this once." }),
  })
  .meta({ id: "CreatedKey", description: "A new API key with its secret." });
export type CreatedKey = z.infer<typeof CreatedKey>;

export const KeyList = listOf(Key, "KeyList");
export const KeyListQuery = z.strictObject(pageQuery);
export type KeyListQuery = z.infer<typeof KeyListQuery>;
export const DeletedKey = deletedOf("api_key", KeyId, "DeletedKey");

/** Whose key a request carries. */
export const Whoami = z
  .strictObject({ object: z.literal("whoami"), tenant: Tenant, key: Key })
  .meta({ id: "Whoami", description: "Whose key this is and what it may do." });
export type Whoami = z.infer<typeof Whoami>;
