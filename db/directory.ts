// The directory in D1: what must be known before it is clear whose request this is.
import { index, integer, sqliteTable, text, uniqueIndex } from "drizzle-orm/sqlite-core";
import type { Scope } from "./value-lists.ts";

export const tenants = sqliteTable("tenants", {
  id: text().primaryKey(),
  name: text().notNull(),
  createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
});

export const apiKeys = sqliteTable(
  "api_keys",
  {
    id: text().primaryKey(),
    tenantId: text("tenant_id")
      .notNull()
      .references(() => tenants.id),
    name: text().notNull(),
    /** SHA-256 of the whole key, hexadecimal; the key itself is kept nowhere. */
    digest: text().notNull(),
    scopes: text({ mode: "json" }).$type<Scope[]>().notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
    expiresAt: integer("expires_at", { mode: "timestamp_ms" }),
    lastUsedAt: integer("last_used_at", { mode: "timestamp_ms" }),
  },
  (table) => [uniqueIndex("api_keys_digest").on(table.digest), index("api_keys_tenant").on(table.tenantId, table.id)],
);

/** Versions that every tenant may use; the newest of a model is where a tenant begins. */
export const baseModels = sqliteTable(
  "base_models",
  {
    manifestSha256: text("manifest_sha256").primaryKey(),
    model: text().notNull(),
    versionId: text("version_id").notNull(),
    /** Ed25519 over the manifest's bytes, base64. */
    signature: text().notNull(),
    createdAt: integer("created_at", { mode: "timestamp_ms" }).notNull(),
  },
  (table) => [
    uniqueIndex("base_models_version").on(table.versionId),
    index("base_models_model").on(table.model, table.createdAt),
  ],
);
