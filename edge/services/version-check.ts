// What a version must prove before it is offered to anyone.
import { CaptionerError } from "../../captioner/errors.ts";
import { parseManifest, type Manifest } from "../../captioner/manifest.ts";
import type { Deps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { fileSize } from "../storage/files.ts";
import { isSignedBy } from "../storage/signatures.ts";
import { versionFiles } from "./versions.ts";

/** A version whose manifest is signed by a trusted key and whose files are all stored. */
export interface CheckedVersion {
  manifest: Manifest;
  manifestSha256: string;
  versionId: string;
}

/**
 * Checks a manifest's signature, then its form, then that each of its files is stored. The store
 * itself has checked their digests.
 *
 * @throws SIGNATURE_INVALID | MANIFEST_INVALID | FILES_MISSING
 */
export async function checkVersion(
  deps: Pick<Deps, "env">,
  bytes: Uint8Array<ArrayBuffer>,
  signature: string,
): Promise<CheckedVersion> {
  if (!(await isSignedBy(deps.env.trustedKeys, bytes, signature))) {
    throw new ApiError("SIGNATURE_INVALID", "No trusted key has signed this manifest.");
  }
  const checked = await parseManifest(bytes).catch((error: unknown) => {
    if (error instanceof CaptionerError) throw new ApiError("MANIFEST_INVALID", `${error.message}.`);
    throw error;
  });
  const { files, probe } = checked.manifest;
  if (!files.some(({ path }) => path === probe.image)) {
    throw new ApiError("MANIFEST_INVALID", "The probe image is not among the files.");
  }
  const sizes = await Promise.all(files.map(({ sha256 }) => fileSize(deps.env, sha256)));
  const missing = files.filter(({ size }, i) => sizes[i] !== size);
  if (missing.length > 0) {
    throw new ApiError("FILES_MISSING", `Not stored: ${missing.map(({ path }) => path).join(", ")}.`);
  }
  return checked;
}

/**
 * Captions the version's probe image in this runtime and compares the tokens.
 *
 * @returns What it says instead; undefined where it says what its manifest promises.
 */
export async function probeVersion(
  deps: Pick<Deps, "env" | "captioner">,
  version: CheckedVersion,
): Promise<string | undefined> {
  const { probe } = version.manifest;
  const read = versionFiles(deps, version);
  const image = new Uint8Array(await read(probe.image));
  const { candidates } = await deps.captioner.caption(
    image,
    { ...version, read },
    { numBeams: probe.num_beams, maxNewTokens: probe.max_new_tokens },
  );
  const tokens = candidates[0]?.tokens ?? [];
  const same = tokens.length === probe.expected_tokens.length && tokens.every((t, i) => t === probe.expected_tokens[i]);
  return same ? undefined : (candidates[0]?.caption ?? "");
}
