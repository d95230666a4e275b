// Signatures of versions (Ed25519) and of callbacks (HMAC-SHA256, Standard Webhooks).

/** Whether one of the public keys (base64) made this Ed25519 signature (base64) of the bytes. */
export async function isSignedBy(
  trustedKeys: readonly string[],
  bytes: BufferSource,
  signature: string,
): Promise<boolean> {
  const raw = decodeBase64(signature);
  if (raw?.byteLength !== 64) return false;
  for (const key of trustedKeys) {
    const publicKey = await crypto.subtle.importKey("raw", Uint8Array.fromBase64(key), "Ed25519", false, ["verify"]);
    if (await crypto.subtle.verify("Ed25519", publicKey, raw, bytes)) return true;
  }
  return false;
}

/** The headers of a signed message (Standard Webhooks). */
export interface MessageHeaders {
  id: string;
  /** Unix seconds. */
  timestamp: string;
  /** One or more of `v1,<base64>`, separated by spaces. */
  signature: string;
}

// What clocks may differ by; a sender signs each attempt anew.
const toleranceSeconds = 300;

/** Whether a message was signed with the secret, just now. */
export async function isSignedMessage(
  secret: string,
  { id, timestamp, signature }: MessageHeaders,
  body: Uint8Array,
  now: Date,
): Promise<boolean> {
  if (!/^\d{1,12}$/.test(timestamp)) return false;
  if (Math.abs(now.getTime() / 1000 - Number(timestamp)) > toleranceSeconds) return false;
  const encoder = new TextEncoder();
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", encoder.encode(secret), algorithm, false, ["verify"]);
  const signed = await new Blob([encoder.encode(`${id}.${timestamp}.`), body]).arrayBuffer();
  for (const part of signature.split(" ").slice(0, 4)) {
    const [version, value = ""] = part.split(",", 2);
    const raw = version === "v1" ? decodeBase64(value) : undefined;
    // `verify` compares in constant time.
    if (raw && (await crypto.subtle.verify("HMAC", key, raw, signed))) return true;
  }
  return false;
}

function decodeBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    return undefined;
  }
}
