import { eq } from "drizzle-orm";
import { baseModels } from "../../db/directory.ts";
import type { BaseModel, BaseModelRequest } from "../contract/models.ts";
import type { Deps } from "../http/context.ts";
import { storeBytes } from "../storage/files.ts";
import { checkVersion } from "./version-check.ts";

/**
 * Offers a signed version to every tenant; offering it again changes nothing.
 *
 * @throws SIGNATURE_INVALID | MANIFEST_INVALID | FILES_MISSING
 */
export async function publishBase(
  deps: Deps,
  request: BaseModelRequest,
): Promise<{ baseModel: BaseModel; created: boolean }> {
  const bytes = Uint8Array.fromBase64(request.manifest);
  const { manifest, manifestSha256, versionId } = await checkVersion(deps, bytes, request.signature);
  await storeBytes(deps.env, manifestSha256, bytes);
  const inserted = await deps.directory
    .insert(baseModels)
    .values({ manifestSha256, model: manifest.model, versionId, signature: request.signature, createdAt: deps.now() })
    .onConflictDoNothing()
    .returning({ versionId: baseModels.versionId });
  const [row] = await deps.directory.select().from(baseModels).where(eq(baseModels.manifestSha256, manifestSha256));
  if (!row) throw new Error("a base version that was just stored is not there");
  return {
    baseModel: {
      object: "base_model",
      model: row.model,
      version: row.versionId,
      manifest_sha256: row.manifestSha256,
      created_at: row.createdAt.toISOString(),
    },
    created: inserted.length > 0,
  };
}
