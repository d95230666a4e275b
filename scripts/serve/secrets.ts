// The secrets of a service on one machine: made once, kept in a file that only its owner reads.
import { createPrivateKey, createPublicKey, randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";

export interface Secrets {
  admin_token: string;
  trainer_token: string;
  /** Base64 of the 32-byte Ed25519 seed with which the GPU worker signs versions. */
  signing_seed: string;
}

export async function loadSecrets(file: string): Promise<Secrets> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as Secrets;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const secrets: Secrets = {
    admin_token: randomBytes(32).toString("base64url"),
    trainer_token: randomBytes(32).toString("base64url"),
    signing_seed: randomBytes(32).toString("base64"),
  };
  await writeFile(file, `${JSON.stringify(secrets, null, 2)}\n`, { mode: 0o600 });
  return secrets;
}

/** The Ed25519 public key, base64, of a base64 seed. */
export function publicKeyOf(seed: string): string {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.from(seed, "base64")]);
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  return createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32).toString("base64");
}
