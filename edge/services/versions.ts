// Which version a name means, and the way to its files.
import { desc, eq } from "drizzle-orm";
import { baseModels } from "../../db/directory.ts";
import { CaptionerError } from "../../captioner/errors.ts";
import { parseManifest, type Manifest } from "../../captioner/manifest.ts";
import type { Version, VersionSummary } from "../contract/models.ts";
import type { Deps, TenantDeps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { readFile } from "../storage/files.ts";
import type { Page, PageRequest } from "../tenant/page.ts";
import type { VersionRow } from "../tenant/versions.ts";

export type BaseRow = typeof baseModels.$inferSelect;

/** A version with its manifest. */
export interface ResolvedVersion {
  id: string;
  manifestSha256: string;
  manifest: Manifest;
}

/** A version as the records know it: one of the tenant's own or a base. */
export type KnownVersion = { base: BaseRow; own?: undefined } | { own: VersionRow; base?: undefined };

type Reader = Pick<TenantDeps, "env" | "directory" | "tenant">;

/**
 * The version that a model (`scenes`, `scenes@alias`, `ver_…`) names now.
 *
 * @throws MODEL_NOT_FOUND | MODEL_UNAVAILABLE
 */
export async function resolveVersion(deps: Reader, reference: string): Promise<ResolvedVersion> {
  const [model = "", alias = "production"] = reference.split("@");
  const known = reference.startsWith("ver_")
    ? await findVersion(deps, reference)
    : await findAliased(deps, model, alias);
  if (!known) throw new ApiError("MODEL_NOT_FOUND", `There is no ${reference}.`);
  const { manifestSha256 } = known.own ?? known.base;
  return { id: idOf(known), manifestSha256, manifest: await readManifest(deps, manifestSha256) };
}

/** The way to a version's files, for the captioner. */
export function versionFiles(
  deps: Pick<Deps, "env">,
  { manifest }: Pick<ResolvedVersion, "manifest">,
): (path: string) => Promise<ArrayBuffer> {
  return async (path) => {
    const file = manifest.files.find((entry) => entry.path === path);
    const bytes = file && (await readFile(deps.env, file.sha256));
    if (!bytes) throw new CaptionerError("MODEL_INVALID", `${path} is missing`);
    return bytes;
  };
}

export function idOf(known: KnownVersion): string {
  return known.own ? known.own.id : known.base.versionId;
}

/** One of the tenant's own versions, or a base version. */
export async function findVersion(deps: Reader, id: string): Promise<KnownVersion | undefined> {
  const own = await deps.tenant.findVersion(id);
  if (own) return { own };
  const [base] = await deps.directory.select().from(baseModels).where(eq(baseModels.versionId, id));
  return base && { base };
}

/** @throws MODEL_NOT_FOUND when it is no version of that model. */
export async function getVersion(deps: Reader, model: string, id: string): Promise<KnownVersion> {
  const known = await findVersion(deps, id);
  if (!known || (known.own ?? known.base).model !== model) {
    throw new ApiError("MODEL_NOT_FOUND", `There is no version ${id} of ${model}.`);
  }
  return known;
}

async function findAliased(deps: Reader, model: string, alias: string): Promise<KnownVersion | undefined> {
  const found = await deps.tenant.findAlias({ model, alias });
  if (found?.version) return { own: found.version };
  if (found) return findVersion(deps, found.alias.versionId);
  const base = alias === "production" ? (await baseVersions(deps, model))[0] : undefined;
  return base && { base };
}

/** The base versions of a model, newest first. */
export function baseVersions(deps: Pick<Deps, "directory">, model: string): Promise<BaseRow[]> {
  return deps.directory
    .select()
    .from(baseModels)
    .where(eq(baseModels.model, model))
    .orderBy(desc(baseModels.createdAt));
}

/** @throws MODEL_NOT_FOUND */
export async function newestBase(deps: Pick<Deps, "directory">, model: string): Promise<BaseRow> {
  const [base] = await baseVersions(deps, model);
  if (!base) throw new ApiError("MODEL_NOT_FOUND", `There is no model ${model}.`);
  return base;
}

// A manifest never changes, so it is read once an isolate; each takes a few kilobytes.
const manifests = new Map<string, Manifest>();
const keptManifests = 64;

/** @throws MODEL_UNAVAILABLE */
export async function readManifest(deps: Pick<Deps, "env">, sha256: string): Promise<Manifest> {
  const known = manifests.get(sha256);
  if (known) return known;
  const bytes = await readFile(deps.env, sha256);
  const parsed = bytes && (await parseManifest(bytes));
  if (parsed?.manifestSha256 !== sha256) {
    throw new ApiError("MODEL_UNAVAILABLE", "The version's manifest cannot be read.");
  }
  manifests.set(sha256, parsed.manifest);
  const [oldest] = manifests.keys();
  if (manifests.size > keptManifests && oldest) manifests.delete(oldest);
  return parsed.manifest;
}

/** The versions of a model that the tenant sees, newest first: its own, then the bases. */
export async function listVersions(
  deps: TenantDeps,
  model: string,
  page: PageRequest,
): Promise<Page<VersionSummary & { id: string }>> {
  const bases = await baseVersions(deps, model);
  if (bases.length === 0) throw new ApiError("MODEL_NOT_FOUND", `There is no model ${model}.`);
  const after = page.after ? await getVersion(deps, model, page.after) : undefined;
  const own = after?.base
    ? { rows: [], hasMore: false }
    : await deps.tenant.listVersions({ model, limit: page.limit, after: after?.own.jobId });
  const rest = after?.base ? bases.slice(bases.findIndex((row) => row.versionId === idOf(after)) + 1) : bases;
  const rows = [...own.rows.map((row) => summarise({ own: row })), ...rest.map((row) => summarise({ base: row }))];
  return { rows: rows.slice(0, page.limit), hasMore: own.hasMore || rows.length > page.limit };
}

/** A version as the contract writes it. @throws MODEL_UNAVAILABLE */
export async function describeVersion(deps: Pick<Deps, "env">, known: KnownVersion): Promise<Version> {
  const manifest = await readManifest(deps, (known.own ?? known.base).manifestSha256);
  return { ...summarise(known), files: manifest.files, metrics: manifest.metrics };
}

function summarise(known: KnownVersion): VersionSummary {
  const { own } = known;
  const { model, manifestSha256, signature, createdAt } = known.own ?? known.base;
  return {
    object: "version",
    id: idOf(known),
    model,
    is_base: own === undefined,
    manifest_sha256: manifestSha256,
    signature,
    base_version: own?.baseVersionId ?? null,
    parent_version: own?.parentVersionId ?? null,
    job: own?.jobId ?? null,
    gate: own?.gate ?? null,
    created_at: createdAt.toISOString(),
  };
}
