// Feedback, frozen: what a job trains on, and which images it keeps back for the gate.
import { sha256Hex } from "../../captioner/digest.ts";
import type { StoredFeedbackFilter } from "../../db/tenant-training.ts";
import type { DataSet, DataSetCounts, DataSetDropped, DataSetExample } from "../contract/trainer.ts";
import type { TenantDeps } from "../http/context.ts";
import type { RatedCaption } from "../tenant/feedback.ts";
import { imageKey } from "../services/images.ts";
import { baseVersions } from "../services/versions.ts";

/** The least that a preference can be learnt from. */
export const fewest = { images: 20, up: 3, down: 3 } as const;
/** The most that one job reads; beyond it the newest thumbs count. */
export const mostRatings = 5_000;
const heldOutShare = 0.2;
const leastHeldOutShare = 0.1;
// Requests to the store that run at once.
const headsAtOnce = 6;

type Sources = Pick<TenantDeps, "env" | "directory" | "tenant" | "tenantId">;

/** Thumbs on captions of a model's versions, newest first, and how many were too many. */
export async function readRatings(
  deps: Pick<TenantDeps, "directory" | "tenant">,
  model: string,
  filter: StoredFeedbackFilter,
): Promise<{ ratings: RatedCaption[]; excess: number }> {
  const bases = await baseVersions(deps, model);
  const wanted = { model, baseVersions: bases.map(({ versionId }) => versionId), ...filter };
  const { ratings, total } = await deps.tenant.ratedCaptions(wanted, mostRatings);
  return { ratings, excess: total - ratings.length };
}

/** Something of which a job needs more. */
export interface Shortage {
  /** How many there are of how many, as part of a sentence. */
  state: string;
  /** How many more it takes, as a sentence. */
  help: string;
}

/** What is missing for a job; empty where nothing is. */
export function shortages(counts: Pick<DataSetCounts, "images" | "up" | "down">): Shortage[] {
  const names = {
    images: ["rated image", "rated images"],
    up: ["thumb up", "thumbs up"],
    down: ["thumb down", "thumbs down"],
  } as const;
  return (["images", "up", "down"] as const)
    .filter((name) => counts[name] < fewest[name])
    .map((name) => {
      const [one, many] = names[name];
      const missing = fewest[name] - counts[name];
      return {
        state: `${counts[name]} ${many} of at least ${fewest[name]}`,
        help: `Collect ${missing} more ${missing === 1 ? one : many}.`,
      };
    });
}

/** Counts of ratings that are not split yet. */
export function countRatings(ratings: RatedCaption[]): Omit<DataSetCounts, "train" | "held_out"> {
  return {
    images: new Set(ratings.map(({ imageSha256 }) => imageSha256)).size,
    ratings: ratings.length,
    up: ratings.filter(({ rating }) => rating === "up").length,
    down: ratings.filter(({ rating }) => rating === "down").length,
    corrections: ratings.filter(({ correction }) => correction !== null).length,
    by_version: Object.fromEntries(
      [...Map.groupBy(ratings, ({ versionId }) => versionId)].map(([version, thumbs]) => [version, thumbs.length]),
    ),
  };
}

/**
 * Chooses the images to keep back: those whose digest, read as a number, is in the lowest fifth,
 * so that an image stays on its side from job to job; at least a tenth, at least one, never all.
 */
export function heldOutImages(digests: Iterable<string>): Set<string> {
  const sorted = [...new Set(digests)].sort();
  const lowest = sorted.filter((digest) => Number.parseInt(digest.slice(0, 8), 16) < heldOutShare * 2 ** 32).length;
  const count = Math.max(lowest, Math.ceil(leastHeldOutShare * sorted.length), 1);
  return new Set(sorted.slice(0, Math.min(count, sorted.length - 1)));
}

/** A data set and the bytes that its digest is of. */
export interface FrozenDataSet {
  dataSet: DataSet;
  bytes: Uint8Array<ArrayBuffer>;
  sha256: string;
}

/** Writes the thumbs of a job down, in an order that depends on nothing else. */
export async function freeze(
  deps: Sources,
  job: { id: string; dataSetId: string; model: string; baseManifestSha256: string; filter: StoredFeedbackFilter },
): Promise<FrozenDataSet> {
  const { ratings, excess } = await readRatings(deps, job.model, job.filter);
  const byImage = Map.groupBy(ratings, ({ imageSha256 }) => imageSha256);
  const missing = await findMissing(deps, [...byImage.keys()]);
  const dropped: DataSetDropped[] = [];
  let lost = 0;
  for (const digest of missing) {
    lost += byImage.get(digest)?.length ?? 0;
    byImage.delete(digest);
  }
  if (lost > 0) dropped.push({ reason: "image_missing", count: lost });
  if (excess > 0) dropped.push({ reason: "over_limit", count: excess });

  const heldOut = heldOutImages(byImage.keys());
  const examples = [...byImage.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([sha256, thumbs]): DataSetExample => ({
      image: {
        sha256,
        media_type: thumbs[0]?.imageMediaType ?? "image/jpeg",
        url: `${deps.env.publicUrl}/internal/jobs/${job.id}/images/${sha256}`,
      },
      split: heldOut.has(sha256) ? "held_out" : "train",
      ratings: thumbs
        .toSorted((a, b) => (a.feedbackId < b.feedbackId ? -1 : 1))
        .map(({ caption, rating, correction, versionId, feedbackId, endUser }) => ({
          caption,
          rating,
          correction,
          version: versionId,
          feedback_id: feedbackId,
          end_user: endUser,
        })),
    }));
  const counted = countRatings([...byImage.values()].flat());
  const dataSet: DataSet = {
    object: "data_set",
    id: job.dataSetId,
    model: job.model,
    base_manifest_sha256: job.baseManifestSha256,
    examples,
    counts: { ...counted, train: byImage.size - heldOut.size, held_out: heldOut.size },
    dropped,
  };
  const bytes = new Uint8Array(new TextEncoder().encode(JSON.stringify(dataSet)));
  return { dataSet, bytes, sha256: await sha256Hex(bytes) };
}

/** Where a data set lies: under its tenant, like the images. */
export function dataSetKey(tenantId: string, sha256: string): string {
  return `data-sets/${tenantId}/${sha256}`;
}

async function findMissing(deps: Sources, digests: string[]): Promise<string[]> {
  const missing: string[] = [];
  const rest = digests.values();
  const look = async (): Promise<void> => {
    for (const digest of rest) {
      if (!(await deps.env.objects.head(imageKey(deps.tenantId, digest)))) missing.push(digest);
    }
  };
  await Promise.all(Array.from({ length: headsAtOnce }, look));
  return missing;
}
