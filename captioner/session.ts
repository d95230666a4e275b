import type { InferenceSession } from "onnxruntime-web/wasm";
import { sha256Hex } from "./digest.ts";
import { CaptionerError } from "./errors.ts";
import type { Manifest, ManifestFile } from "./manifest.ts";
import type { Runtime } from "./runtime.ts";

/** A published version: its manifest, already trusted, and a way to its files, not yet trusted. */
export interface VersionSource {
  manifest: Manifest;
  manifestSha256: string;
  read(path: string): Promise<ArrayBuffer>;
}

/** How full the session cache is. */
export interface SessionStats {
  sessions: number;
  /** Estimated memory of the open sessions. */
  sessionBytes: number;
  /** onnxruntime's heap, which holds them and never shrinks. */
  heapBytes: number;
  loads: number;
  evictions: number;
}

/** Open models by digest, the least recently used given up first. */
export interface SessionCache {
  /**
   * Opens the files, if need be, and runs `use` while nothing else uses the runtime.
   *
   * @throws MODEL_FILE_MISMATCH | MODEL_INVALID | MODEL_TOO_LARGE
   */
  withSessions<T>(
    version: VersionSource,
    paths: readonly string[],
    use: (sessions: InferenceSession[]) => Promise<T>,
  ): Promise<T>;
  stats(): SessionStats;
}

interface Entry {
  session: InferenceSession;
  bytes: number;
}

// Measured: an open fp32 session takes its file's size once for the weights and once more for
// their packed copies and the arena.
const bytesPerFileByte = 2;

/**
 * Finds a file in a manifest.
 *
 * @throws MODEL_INVALID when the version has none of that path.
 */
export function fileOf(manifest: Manifest, path: string): ManifestFile {
  const file = manifest.files.find((listed) => listed.path === path);
  if (!file) throw new CaptionerError("MODEL_INVALID", `the version has no ${path}`);
  return file;
}

/**
 * Reads one of a version's files and checks it against the manifest.
 *
 * @throws MODEL_INVALID when the manifest does not list it, MODEL_FILE_MISMATCH when its bytes differ.
 */
export async function readVerified(version: VersionSource, path: string): Promise<ArrayBuffer> {
  const file = fileOf(version.manifest, path);
  const bytes = await version.read(path);
  if (bytes.byteLength !== file.size || (await sha256Hex(bytes)) !== file.sha256) {
    throw new CaptionerError("MODEL_FILE_MISMATCH", `${path} is not the file that the manifest lists`);
  }
  return bytes;
}

/** @param budgetBytes What all sessions together may take. */
export function createSessionCache(runtime: Runtime, budgetBytes: number): SessionCache {
  // A Map keeps insertion order: the first key is the least recently used.
  const entries = new Map<string, Entry>();
  const counts = { loads: 0, evictions: 0 };
  let tail: Promise<unknown> = Promise.resolve();

  // onnxruntime-web awaits between taking and using its stack, so nothing may run in between. What
  // runs in here does no I/O: in workerd a cancelled request would leave the queue waiting for ever.
  const alone = <T>(work: () => Promise<T>): Promise<T> => {
    const result = tail.then(work, work);
    tail = result.catch(() => undefined);
    return result;
  };

  const used = (): number => [...entries.values()].reduce((sum, { bytes }) => sum + bytes, 0);

  const makeRoom = async (bytes: number, keep: ReadonlySet<string>): Promise<void> => {
    for (const [digest, { session }] of entries) {
      if (used() + bytes <= budgetBytes) return;
      if (keep.has(digest)) continue;
      entries.delete(digest);
      counts.evictions++;
      await session.release();
    }
  };

  const open = async (file: ManifestFile, model: ArrayBuffer, keep: ReadonlySet<string>): Promise<void> => {
    const bytes = file.size * bytesPerFileByte;
    await makeRoom(bytes, keep);
    try {
      entries.set(file.sha256, { session: await runtime.createSession(new Uint8Array(model)), bytes });
      counts.loads++;
    } catch (error) {
      throw new CaptionerError("MODEL_INVALID", `${file.path} is no model that this runtime opens`, error);
    }
  };

  return {
    withSessions: async (version, paths, use) => {
      const files = paths.map((path) => fileOf(version.manifest, path));
      const needed = new Set(files.map(({ sha256 }) => sha256));
      if (files.reduce((sum, { size }) => sum + size * bytesPerFileByte, 0) > budgetBytes) {
        throw new CaptionerError("MODEL_TOO_LARGE", "the version does not fit the memory of this service");
      }
      for (;;) {
        const missing = files.filter(({ sha256 }) => !entries.has(sha256));
        const models = await Promise.all(missing.map(({ path }) => readVerified(version, path)));
        const outcome = await alone(async () => {
          for (const [i, file] of missing.entries()) {
            if (!entries.has(file.sha256)) await open(file, models[i]!, needed);
          }
          const found = files.map(({ sha256 }) => touch(entries, sha256));
          // Evicted while this call was reading the others: read that one too.
          if (found.some((session) => session === undefined)) return undefined;
          return { value: await use(found as InferenceSession[]) };
        });
        if (outcome) return outcome.value;
      }
    },
    stats: () => ({
      sessions: entries.size,
      sessionBytes: used(),
      heapBytes: runtime.heapBytes(),
      ...counts,
    }),
  };
}

/** Looks an entry up and makes it the most recently used. */
function touch(entries: Map<string, Entry>, digest: string): InferenceSession | undefined {
  const entry = entries.get(digest);
  if (!entry) return undefined;
  entries.delete(digest);
  entries.set(digest, entry);
  return entry.session;
}
