// Aliases move by compare-and-swap; `production` names the newest base until it is moved.
import type { Alias, AliasMove, AliasRequest, Model, RollbackRequest } from "../contract/models.ts";
import { baseModels } from "../../db/directory.ts";
import type { TenantDeps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import type { AliasMoveRow, AliasRow } from "../tenant/versions.ts";
import { getVersion, idOf, newestBase } from "./versions.ts";

/** What names an alias. */
interface AliasKey {
  model: string;
  alias: string;
}

/** @throws MODEL_NOT_FOUND */
export async function readAlias(deps: TenantDeps, key: AliasKey): Promise<Alias> {
  const base = await newestBase(deps, key.model);
  const found = await deps.tenant.findAlias(key);
  if (found) return aliasFromRow(found.alias);
  if (key.alias === "production") return unmoved(key, base.versionId);
  throw new ApiError("MODEL_NOT_FOUND", `There is no alias ${key.alias} of ${key.model}.`);
}

/**
 * Points an alias to a version, if nobody has moved it since the caller read it.
 *
 * @throws PRECONDITION_REQUIRED | PRECONDITION_FAILED | MODEL_NOT_FOUND | VERSION_NOT_PROMOTABLE
 */
export async function setAlias(
  deps: TenantDeps,
  key: AliasKey,
  { version, reason = "", override }: AliasRequest,
  { ifMatch, actor }: { ifMatch: string | undefined; actor: string },
): Promise<Alias> {
  if (ifMatch === undefined) {
    throw new ApiError("PRECONDITION_REQUIRED", 'Send the alias\'s ETag as If-Match, or `"0"` to make one.');
  }
  const base = await newestBase(deps, key.model);
  const known = await getVersion(deps, key.model, version);
  const row = await deps.tenant.moveAlias({
    ...key,
    to: idOf(known),
    expected: revisionOf(ifMatch),
    initial: key.alias === "production" ? base.versionId : null,
    move: "set",
    reason,
    override,
    actor,
    now: deps.now(),
  });
  return aliasFromRow(row);
}

/**
 * Points an alias to the version it named before; the caller may say which move he has seen.
 *
 * @throws ALIAS_CONFLICT | PRECONDITION_FAILED | MODEL_NOT_FOUND
 */
export async function rollBack(
  deps: TenantDeps,
  key: AliasKey,
  { reason = "" }: RollbackRequest,
  { ifMatch, actor }: { ifMatch: string | undefined; actor: string },
): Promise<Alias> {
  await readAlias(deps, key);
  const expected = ifMatch === undefined ? undefined : revisionOf(ifMatch);
  return aliasFromRow(await deps.tenant.rollBackAlias({ ...key, expected, reason, actor, now: deps.now() }));
}

/** All models with their aliases. */
export async function listModels(deps: TenantDeps): Promise<Model[]> {
  const [bases, aliases] = await Promise.all([deps.directory.select().from(baseModels), deps.tenant.listAliases()]);
  const names = [...new Set(bases.map(({ model }) => model))].sort();
  return Promise.all(
    names.map(async (id) => {
      const base = await newestBase(deps, id);
      const moved = aliases.filter(({ model }) => model === id).map(aliasFromRow);
      const first = moved.some(({ alias }) => alias === "production")
        ? []
        : [unmoved({ model: id, alias: "production" }, base.versionId)];
      return { object: "model" as const, id, base_version: base.versionId, aliases: [...first, ...moved] };
    }),
  );
}

/** The revision that an If-Match names; undefined for `*`. @throws PRECONDITION_FAILED */
function revisionOf(ifMatch: string): number | undefined {
  if (ifMatch.trim() === "*") return undefined;
  const [, digits] = /^\s*"(\d{1,9})"\s*$/.exec(ifMatch) ?? [];
  if (digits === undefined) throw new ApiError("PRECONDITION_FAILED", "If-Match is no ETag of an alias.");
  return Number(digits);
}

export function etagOf(alias: Alias): string {
  return `"${alias.revision}"`;
}

function unmoved(key: AliasKey, version: string): Alias {
  return { object: "alias", ...key, version, revision: 0, updated_at: null };
}

function aliasFromRow({ model, alias, versionId, revision, updatedAt }: AliasRow): Alias {
  return { object: "alias", model, alias, version: versionId, revision, updated_at: updatedAt.toISOString() };
}

export function moveFromRow(row: AliasMoveRow): AliasMove {
  return {
    object: "alias_move",
    revision: row.revision,
    move: row.move,
    from_version: row.fromVersionId,
    to_version: row.toVersionId,
    reason: row.reason,
    override: row.override,
    actor: row.actor,
    created_at: row.createdAt.toISOString(),
  };
}
