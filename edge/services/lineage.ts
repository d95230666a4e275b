import type { Lineage, Round } from "../contract/models.ts";
import type { TenantDeps } from "../http/context.ts";
import type { Round as RoundRecord } from "../tenant/versions.ts";
import { evaluationOf } from "./jobs.ts";
import { type BaseRow, findVersion, type KnownVersion } from "./versions.ts";

const mostRounds = 100;

/** A version, the one that served when it was begun, and so on down to a base. */
export async function readLineage(
  deps: Pick<TenantDeps, "env" | "directory" | "tenant">,
  known: KnownVersion,
): Promise<Lineage> {
  const { own } = known;
  const records = own ? await deps.tenant.versionLineage(own.id, mostRounds) : [];
  const next = own ? (records.at(-1)?.version.parentVersionId ?? own.parentVersionId) : known.base.versionId;
  const last = await findVersion(deps, next);
  const { model } = known.own ?? known.base;
  return {
    object: "version.lineage",
    model,
    version: own?.id ?? next,
    base_version: own?.baseVersionId ?? next,
    rounds: [...records.map(roundOf), ...(last?.base ? [baseRound(last.base)] : [])],
    earlier: last?.own?.id ?? null,
  };
}

function roundOf({ version, job, dataSet }: RoundRecord): Round {
  return {
    version: version.id,
    is_base: false,
    parent_version: version.parentVersionId,
    job: job.id,
    counts: dataSet && dataSet.counts,
    predicted_approval: evaluationOf(job)?.predicted_approval ?? null,
    gate: version.gate,
    created_at: version.createdAt.toISOString(),
  };
}

function baseRound({ versionId, createdAt }: BaseRow): Round {
  return {
    version: versionId,
    is_base: true,
    parent_version: null,
    job: null,
    counts: null,
    predicted_approval: null,
    gate: null,
    created_at: createdAt.toISOString(),
  };
}
