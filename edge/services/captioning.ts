import { sha256Hex } from "../../captioner/digest.ts";
import type { Caption } from "../contract/captions.ts";
import type { TenantDeps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import type { CaptionRow } from "../tenant/captions.ts";
import { putImage } from "./images.ts";
import { resolveVersion, versionFiles } from "./versions.ts";

/** What a request may choose, however its image came. */
export interface CaptioningOptions {
  model: string;
  n?: number | undefined;
  max_tokens?: number | undefined;
  num_beams?: number | undefined;
  temperature?: number | undefined;
  seed?: number | undefined;
}

/**
 * Captions an image with the version that the model names now, and keeps both.
 *
 * @throws INVALID_REQUEST | MODEL_NOT_FOUND | MODEL_UNAVAILABLE | STORE_UNAVAILABLE | IMAGE_…
 */
export async function captionImage(
  deps: TenantDeps,
  image: Uint8Array<ArrayBuffer>,
  options: CaptioningOptions,
): Promise<Caption> {
  requireWideBeam(options);
  requireOneWay(options);
  const version = await resolveVersion(deps, options.model);
  const { candidates, image: facts } = await deps.captioner.caption(
    image,
    { ...version, read: versionFiles(deps, version) },
    {
      candidates: options.n ?? 1,
      ...(options.num_beams !== undefined && { numBeams: options.num_beams }),
      ...(options.max_tokens !== undefined && { maxNewTokens: options.max_tokens }),
      ...(options.temperature !== undefined && { temperature: options.temperature }),
      ...(options.seed !== undefined && { seed: options.seed }),
    },
  );
  const [best] = candidates;
  if (!best) throw new Error("a search found no caption");
  const row: CaptionRow = {
    id: deps.newId("caption"),
    model: options.model,
    versionId: version.id,
    caption: best.caption,
    candidates: candidates.map(({ caption, score, logprob, finished }) => ({
      caption,
      score,
      logProbability: logprob,
      finished,
    })),
    imageSha256: await sha256Hex(image),
    imageMediaType: facts.mediaType,
    imageSizeBytes: image.byteLength,
    imageWidth: facts.width,
    imageHeight: facts.height,
    createdAt: deps.now(),
  };
  await keepCaption(deps, row, image);
  return captionFromRow(row);
}

/** The row goes first: while it stands, deleting another caption of the image spares the bytes. */
async function keepCaption(deps: TenantDeps, row: CaptionRow, image: Uint8Array): Promise<void> {
  await deps.tenant.insertCaption(row);
  try {
    await putImage(deps, row.imageSha256, row.imageMediaType, image);
  } catch (error) {
    await deps.tenant.deleteCaption(deps.tenantId, row.id);
    throw new ApiError("STORE_UNAVAILABLE", "The image could not be stored; nothing was kept.", { cause: error });
  }
}

function requireWideBeam({ n, num_beams }: CaptioningOptions): void {
  if (n === undefined || num_beams === undefined || n <= num_beams) return;
  const detail = `n is ${n}, but a search with num_beams ${num_beams} finds no more than that.`;
  throw new ApiError("INVALID_REQUEST", detail, {
    errors: [{ pointer: "/n", code: "too_big", detail, fix: `Use at most ${num_beams}, or a wider beam.` }],
  });
}

function requireOneWay({ n, num_beams, temperature = 0, seed }: CaptioningOptions): void {
  if (temperature === 0 && seed !== undefined) {
    const detail = "A search finds the same caption each time; a seed counts only where one is drawn.";
    throw new ApiError("INVALID_REQUEST", detail, {
      errors: [{ pointer: "/seed", code: "conflict", detail, fix: "Give a temperature above 0, or leave out seed." }],
    });
  }
  if (temperature === 0 || (n === undefined && num_beams === undefined)) return;
  const detail = "A caption is either drawn, by temperature, or searched for, by n and num_beams.";
  throw new ApiError("INVALID_REQUEST", detail, {
    errors: [{ pointer: "/temperature", code: "conflict", detail, fix: "Leave out temperature, or n and num_beams." }],
  });
}

export function captionFromRow(row: CaptionRow): Caption {
  return {
    object: "caption",
    id: row.id,
    caption: row.caption,
    candidates: row.candidates.map(({ logProbability, ...candidate }) => ({
      ...candidate,
      log_probability: logProbability,
    })),
    model: row.model,
    version: row.versionId,
    image: {
      sha256: row.imageSha256,
      media_type: row.imageMediaType,
      size_bytes: row.imageSizeBytes,
      width: row.imageWidth,
      height: row.imageHeight,
    },
    created_at: row.createdAt.toISOString(),
  };
}
