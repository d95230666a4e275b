import { sha256Hex } from "../../captioner/digest.ts";

/** Compares two secrets in a time that tells nothing about either. */
export async function equalSecrets(given: string, expected: string): Promise<boolean> {
  const encode = (text: string): Promise<string> => sha256Hex(new TextEncoder().encode(text));
  return equalDigests(await encode(given), await encode(expected));
}

/** Compares two digests of equal length in constant time. */
export function equalDigests(left: string, right: string): boolean {
  const encoder = new TextEncoder();
  return left.length === right.length && crypto.subtle.timingSafeEqual(encoder.encode(left), encoder.encode(right));
}

/** 32 random bytes in base64url. */
export function newSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return bytes.toBase64({ alphabet: "base64url", omitPadding: true });
}
