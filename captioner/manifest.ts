import { z } from "zod";
import { sha256Hex } from "./digest.ts";
import { CaptionerError } from "./errors.ts";

const Sha256 = z.string().regex(/^[0-9a-f]{64}$/);

/** A relative path of plain segments: nothing in it can climb out of the version's folder. */
const FilePath = z
  .string()
  .max(200)
  .regex(/^[A-Za-z0-9_][A-Za-z0-9_.-]*(\/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$/);

/** One file of a published version. */
export const ManifestFile = z.strictObject({
  path: FilePath,
  sha256: Sha256,
  size: z.int().nonnegative(),
});
export type ManifestFile = z.infer<typeof ManifestFile>;

/** What a version consists of, where it comes from and what it must say to its probe image. */
export const Manifest = z.object({
  object: z.literal("model_manifest"),
  format: z.literal(1),
  model: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
  files: z
    .array(ManifestFile)
    .min(1)
    .max(100)
    .refine((files) => new Set(files.map((file) => file.path)).size === files.length, {
      message: "a path is listed twice",
    }),
  lineage: z.object({
    base_manifest_sha256: Sha256.nullable(),
    parent: Sha256.nullable(),
    job_id: z.string().nullable(),
    dataset_sha256: Sha256.nullable(),
  }),
  evaluators: z.record(z.string(), z.object({ sha256: Sha256 })),
  metrics: z.record(z.string(), z.unknown()),
  parity: z.record(z.string(), z.unknown()),
  probe: z.object({
    image: FilePath,
    num_beams: z.int().min(1).max(16),
    max_new_tokens: z.int().min(1).max(256),
    expected_tokens: z.array(z.int().nonnegative()),
    expected_caption: z.string(),
  }),
  training: z.record(z.string(), z.unknown()).optional(),
});
export type Manifest = z.infer<typeof Manifest>;

/** The name of a version: derived from its manifest's bytes, so one content has one name. */
export function versionIdOf(manifestSha256: string): string {
  return `ver_${manifestSha256.slice(0, 24)}`;
}

/**
 * Reads a manifest from its raw bytes, the ones that are signed and hashed.
 *
 * @throws MODEL_INVALID when the bytes are no manifest of this format.
 */
export async function parseManifest(
  bytes: BufferSource,
): Promise<{ manifest: Manifest; manifestSha256: string; versionId: string }> {
  const manifest = parseJson(bytes, Manifest, "manifest.json");
  const manifestSha256 = await sha256Hex(bytes);
  return { manifest, manifestSha256, versionId: versionIdOf(manifestSha256) };
}

/**
 * Parses one of a version's JSON files.
 *
 * @throws MODEL_INVALID when the bytes are not UTF-8 JSON of that schema.
 */
export function parseJson<T>(bytes: BufferSource, schema: z.ZodType<T>, name: string): T {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes));
  } catch (error) {
    throw new CaptionerError("MODEL_INVALID", `${name} is not JSON`, error);
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    const where = issue ? `/${issue.path.join("/")}: ${issue.message}` : "";
    throw new CaptionerError("MODEL_INVALID", `${name} is invalid at ${where}`, parsed.error);
  }
  return parsed.data;
}
