import { and, desc, eq, lt, ne } from "drizzle-orm";
import { aliases, aliasMoves, jobs, versions } from "../../db/tenant.ts";
import type { AliasMove } from "../../db/value-lists.ts";
import { ApiError } from "../http/errors.ts";
import { addEvent, advanceJob, getJob, getJobRecord, isActive, type JobRecord } from "./jobs.ts";
import { pageOf, type Page, type PageRequest } from "./page.ts";
import type { TenantDatabase } from "./store.ts";

export type VersionRow = typeof versions.$inferSelect;
export type AliasRow = typeof aliases.$inferSelect;
export type AliasMoveRow = typeof aliasMoves.$inferSelect;

/** What names an alias. */
export interface AliasKey {
  model: string;
  alias: string;
}

/** Where an alias points; the version is undefined where it is a base version. */
export interface AliasRecord {
  alias: AliasRow;
  version: VersionRow | undefined;
}

export function findVersion(db: TenantDatabase, id: string): VersionRow | undefined {
  return db.select().from(versions).where(eq(versions.id, id)).get();
}

export function findAlias(db: TenantDatabase, { model, alias }: AliasKey): AliasRecord | undefined {
  const row = db
    .select()
    .from(aliases)
    .where(and(eq(aliases.model, model), eq(aliases.alias, alias)))
    .get();
  return row && { alias: row, version: findVersion(db, row.versionId) };
}

export function listAliases(db: TenantDatabase): AliasRow[] {
  return db.select().from(aliases).orderBy(aliases.alias).all();
}

/** The tenant's own versions of a model, the newest job's first; `after` is a job's id. */
export function listVersions(
  db: TenantDatabase,
  { model, limit, after }: PageRequest & { model: string },
): Page<VersionRow> {
  const rows = db
    .select()
    .from(versions)
    .where(and(eq(versions.model, model), after ? lt(versions.jobId, after) : undefined))
    .orderBy(desc(versions.jobId))
    .limit(limit + 1)
    .all();
  return pageOf(rows, limit);
}

/** A version with the job that made it and what that job trained on. */
export interface Round extends JobRecord {
  version: VersionRow;
}

/**
 * A version and the ones that served when each was begun, newest first, as far as they are the
 * tenant's own and at most `most`.
 */
export function versionLineage(db: TenantDatabase, id: string, most: number): Round[] {
  const rounds: Round[] = [];
  for (let version = findVersion(db, id); version && rounds.length < most;) {
    rounds.push({ version, ...getJobRecord(db, version.jobId) });
    version = findVersion(db, version.parentVersionId);
  }
  return rounds;
}

/** Moves of an alias, newest first; `after` is a revision. */
export function listAliasMoves(
  db: TenantDatabase,
  { model, alias, limit, after }: AliasKey & PageRequest,
): Page<AliasMoveRow> {
  const rows = db
    .select()
    .from(aliasMoves)
    .where(
      and(
        eq(aliasMoves.model, model),
        eq(aliasMoves.alias, alias),
        after ? lt(aliasMoves.revision, Number(after)) : undefined,
      ),
    )
    .orderBy(desc(aliasMoves.revision))
    .limit(limit + 1)
    .all();
  return pageOf(rows, limit);
}

/** A move of an alias, as its caller wants it. */
export interface NewMove extends AliasKey {
  to: string;
  /** The revision that the caller has seen; undefined where any will do. */
  expected: number | undefined;
  /** What the alias names while it has no row: the base version, or nothing. */
  initial: string | null;
  move: AliasMove;
  reason: string;
  override: boolean;
  actor: string;
  now: Date;
}

/**
 * Moves an alias by compare-and-swap.
 *
 * @throws PRECONDITION_FAILED | VERSION_NOT_PROMOTABLE
 */
export function moveAlias(db: TenantDatabase, wanted: NewMove): AliasRow {
  return db.transaction(() => {
    const { model, alias, to, move, reason, override, actor, now } = wanted;
    const current = findAlias(db, wanted)?.alias;
    const revision = current?.revision ?? 0;
    if (wanted.expected !== undefined && wanted.expected !== revision) {
      throw new ApiError("PRECONDITION_FAILED", `The alias is at revision ${revision}; read it again.`);
    }
    if (findVersion(db, to)?.gate.verdict === "rejected" && !override) {
      throw new ApiError(
        "VERSION_NOT_PROMOTABLE",
        "The gate rejected this version; promote it with `override` and a reason.",
      );
    }
    const row: AliasRow = { model, alias, versionId: to, revision: revision + 1, updatedAt: now };
    db.insert(aliases)
      .values(row)
      .onConflictDoUpdate({ target: [aliases.model, aliases.alias], set: row })
      .run();
    db.insert(aliasMoves)
      .values({
        model,
        alias,
        move,
        reason,
        override,
        actor,
        revision: row.revision,
        fromVersionId: current?.versionId ?? wanted.initial,
        toVersionId: to,
        createdAt: now,
      })
      .run();
    return row;
  });
}

/**
 * Moves an alias back to what it named before the version that it names now; further calls go
 * further back.
 *
 * @throws ALIAS_CONFLICT when there is nothing before it; PRECONDITION_FAILED
 */
export function rollBackAlias(
  db: TenantDatabase,
  wanted: Omit<NewMove, "to" | "move" | "override" | "initial">,
): AliasRow {
  const current = findAlias(db, wanted)?.alias;
  const arrival =
    current &&
    db
      .select()
      .from(aliasMoves)
      .where(
        and(
          eq(aliasMoves.model, wanted.model),
          eq(aliasMoves.alias, wanted.alias),
          eq(aliasMoves.toVersionId, current.versionId),
          ne(aliasMoves.move, "rollback"),
        ),
      )
      .orderBy(desc(aliasMoves.revision))
      .get();
  if (!current || !arrival?.fromVersionId) {
    throw new ApiError("ALIAS_CONFLICT", `There is no version before the one that ${wanted.alias} names.`);
  }
  // Whoever let the earlier version in has answered for it then.
  const past = { to: arrival.fromVersionId, move: "rollback", override: true, initial: null } as const;
  return moveAlias(db, { ...wanted, ...past });
}

/**
 * Ends a job with its version, all at once: the version is there, the alias has moved if it
 * should, the job has ended. Done again it changes nothing.
 */
export function publishVersion(db: TenantDatabase, version: VersionRow, reportSha256: string | null, now: Date): void {
  db.transaction(() => {
    const job = getJob(db, version.jobId);
    if (!isActive(job)) return;
    db.insert(versions).values(version).onConflictDoNothing().run();
    db.update(jobs).set({ versionId: version.id, gate: version.gate, reportSha256 }).where(eq(jobs.id, job.id)).run();
    const data = { version: version.id };
    addEvent(db, job.id, { type: "published", message: `Version ${version.id} is there.`, data }, now);
    if (version.gate.verdict === "passed" && job.promote === "auto") promote(db, version, now);
    const passed = version.gate.verdict === "passed";
    const message = passed ? "The job succeeded." : `The gate rejected the version. ${version.gate.reasons.join(" ")}`;
    const level = passed ? "info" : "warning";
    advanceJob(db, {
      id: job.id,
      to: passed ? "succeeded" : "rejected",
      event: { type: "ended", level, message, data },
      changes: passed
        ? {}
        : {
            statusReason: {
              code: "GATE_REJECTED",
              message: version.gate.reasons.join(" "),
              retryable: false,
              fault: "user",
              help: [
                "Collect more thumbs, some of them up, or corrections, and start another job.",
                "The version is kept: try it by its id, and promote it with `override` and a reason if you disagree.",
              ],
            },
          },
      now,
    });
  });
}

/** Moves `production` to the version unless someone else has moved it since the job was made. */
function promote(db: TenantDatabase, version: VersionRow, now: Date): void {
  const key: AliasKey = { model: version.model, alias: "production" };
  const current = findAlias(db, key)?.alias;
  const { parentVersionId } = version;
  if ((current?.versionId ?? parentVersionId) !== parentVersionId) {
    const message = "`production` was moved while the job ran, so it was left where it is.";
    addEvent(db, version.jobId, { type: "alias", level: "warning", message }, now);
    return;
  }
  const reason = "It passed the gate.";
  moveAlias(db, {
    ...key,
    to: version.id,
    expected: current?.revision ?? 0,
    initial: parentVersionId,
    move: "promotion",
    reason,
    override: false,
    actor: version.jobId,
    now,
  });
  const message = `\`production\` moved from ${parentVersionId} to ${version.id}.`;
  addEvent(db, version.jobId, { type: "alias", message, data: { version: version.id } }, now);
}
