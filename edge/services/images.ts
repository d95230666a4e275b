import type { ImageMediaType } from "../../db/value-lists.ts";
import type { TenantDeps } from "../http/context.ts";

/** Where an image lies: under its tenant, so that no digest opens another tenant's picture. */
export function imageKey(tenantId: string, sha256: string): string {
  return `images/${tenantId}/${sha256}`;
}

/** Stores an image under its digest; storing it again does nothing. */
export async function putImage(
  deps: Pick<TenantDeps, "env" | "tenantId">,
  sha256: string,
  mediaType: ImageMediaType,
  bytes: Uint8Array,
): Promise<void> {
  await deps.env.objects.put(imageKey(deps.tenantId, sha256), bytes, {
    onlyIf: { etagDoesNotMatch: "*" },
    sha256,
    httpMetadata: { contentType: mediaType },
  });
}
