import { idPrefixes, type IdKind } from "../contract/ids.ts";

const digits = "0123456789abcdefghjkmnpqrstvwxyz";

/** Makes an id that sorts by age: 10 digits of milliseconds, then 16 random ones. */
export function newId(kind: IdKind, now: Date = new Date()): string {
  let time = "";
  for (let rest = now.getTime(), i = 0; i < 10; i++, rest = Math.floor(rest / 32)) {
    time = digits.charAt(rest % 32) + time;
  }
  const random = Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => digits.charAt(byte & 31));
  return idPrefixes[kind] + time + random.join("");
}
