// Files that the captioner's tests share.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Manifest } from "../../captioner/manifest.ts";
import type { VersionSource } from "../../captioner/index.ts";

const root = join(import.meta.dirname, "../..");

/** A published version of the repository, its reads counted. */
export function versionAt(folder: string): VersionSource & { reads: string[] } {
  const bytes = readFileSync(join(root, folder, "manifest.json"));
  const reads: string[] = [];
  return {
    manifest: Manifest.parse(JSON.parse(bytes.toString())),
    manifestSha256: createHash("sha256").update(bytes).digest("hex"),
    reads,
    read: (path) => {
      reads.push(path);
      return Promise.resolve(new Uint8Array(readFileSync(join(root, folder, path))).buffer);
    },
  };
}

export function picture(name: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(readFileSync(join(root, "tests/fixtures/pixels", name)));
}

interface Goldens {
  side: number;
  images: { file: string; pixels: string; values_sha256: string; tokens: number[] }[];
  texts: Record<string, { decoded: [number[], string][]; encoded: [string, number[]][] }>;
}

/** What the Python side makes of the pictures; see make-goldens.py. */
export const goldens = JSON.parse(readFileSync(join(root, "tests/fixtures/pixels/goldens.json"), "utf8")) as Goldens;
