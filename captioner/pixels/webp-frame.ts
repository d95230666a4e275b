/**
 * Wraps an animation frame's own chunks into a still WebP file.
 *
 * A frame holds `ALPH`? and `VP8 `, or `VP8L`, as a still file does (RFC 9649, section 2.7.1.1).
 */
export function stillFromFrame(
  bytes: Uint8Array,
  frame: { offset: number; size: number; width: number; height: number },
): Uint8Array {
  const chunks = bytes.subarray(frame.offset, frame.offset + frame.size);
  const still = new Uint8Array(30 + chunks.length);
  const view = new DataView(still.buffer);
  const text = (at: number, value: string): void => {
    still.set(new TextEncoder().encode(value), at);
  };
  text(0, "RIFF");
  view.setUint32(4, still.length - 8, true);
  text(8, "WEBPVP8X");
  view.setUint32(16, 10, true);
  const hasAlpha = String.fromCharCode(...chunks.subarray(0, 4)) !== "VP8 ";
  still[20] = hasAlpha ? 0x10 : 0;
  const uint24 = (at: number, value: number): void => {
    view.setUint16(at, value & 0xffff, true);
    view.setUint8(at + 2, value >> 16);
  };
  uint24(24, frame.width - 1);
  uint24(27, frame.height - 1);
  still.set(chunks, 30);
  return still;
}
