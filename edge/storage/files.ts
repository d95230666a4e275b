// Model files, content-addressed: two versions that share bytes share the object.
import type { Env } from "../env.ts";
import { ApiError } from "../http/errors.ts";

/** What one file may weigh; Cloudflare takes request bodies of up to 100 MB. */
export const maxFileBytes = 90_000_000;
// A body without a declared length has to be held in memory.
const maxBufferedBytes = 20_000_000;

function fileKey(sha256: string): string {
  return `files/${sha256}`;
}

/** The size of a stored file in bytes; undefined where there is none. */
export async function fileSize(env: Env, sha256: string): Promise<number | undefined> {
  return (await env.objects.head(fileKey(sha256)))?.size;
}

/** A stored file as a stream with its size. */
export async function openFile(env: Env, sha256: string): Promise<R2ObjectBody | undefined> {
  return (await env.objects.get(fileKey(sha256))) ?? undefined;
}

/** A stored file's bytes. */
export async function readFile(env: Env, sha256: string): Promise<ArrayBuffer | undefined> {
  return (await openFile(env, sha256))?.arrayBuffer();
}

/** Deletes a stored file; one that is not there is deleted already. */
export async function deleteFile(env: Env, sha256: string): Promise<void> {
  await env.objects.delete(fileKey(sha256));
}

/** Stores bytes that are known to have this digest. */
export async function storeBytes(env: Env, sha256: string, bytes: Uint8Array): Promise<void> {
  await env.objects.put(fileKey(sha256), bytes, { onlyIf: { etagDoesNotMatch: "*" }, sha256 });
}

/**
 * Stores a request's body under its digest; the store itself checks it. Storing it again changes
 * nothing.
 *
 * @throws DIGEST_MISMATCH | BODY_TOO_LARGE | INVALID_REQUEST
 */
export async function storeFile(
  env: Env,
  sha256: string,
  request: Request,
): Promise<{ size: number; created: boolean }> {
  if (!/^[0-9a-f]{64}$/.test(sha256)) {
    throw new ApiError("INVALID_REQUEST", "The address does not end in a SHA-256 digest.", {
      errors: [
        {
          pointer: "path/sha256",
          code: "invalid_format",
          detail: "The address does not end in a SHA-256 digest.",
          fix: "Use 64 lower-case hexadecimal digits.",
        },
      ],
    });
  }
  const known = await fileSize(env, sha256);
  if (known !== undefined) {
    await request.body?.cancel();
    return { size: known, created: false };
  }
  try {
    const stored = await env.objects.put(fileKey(sha256), await bodyOf(request), { sha256 });
    return { size: stored.size, created: true };
  } catch (error) {
    if (error instanceof ApiError) throw error;
    if (/sha-?256|checksum|digest/i.test(String(error))) {
      throw new ApiError("DIGEST_MISMATCH", "The body's SHA-256 is not the one in the address.", { cause: error });
    }
    throw new ApiError("STORE_UNAVAILABLE", "The file could not be stored.", { cause: error });
  }
}

async function bodyOf(request: Request): Promise<ReadableStream | Uint8Array> {
  const tooLarge = new ApiError("BODY_TOO_LARGE", `A file may have at most ${maxFileBytes} bytes.`);
  const declared = request.headers.get("content-length");
  if (!request.body) return new Uint8Array();
  if (declared !== null) {
    if (Number(declared) > maxFileBytes) throw tooLarge;
    return request.body;
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of request.body) {
    length += chunk.byteLength;
    if (length > maxBufferedBytes) throw tooLarge;
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}
