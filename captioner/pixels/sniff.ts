import { CaptionerError } from "../errors.ts";
import { orientationOf, type Orientation } from "./exif.ts";

export type MediaType = "image/jpeg" | "image/png" | "image/webp";

/** What an image's headers say, read before a single pixel is decoded. */
export interface ImageHeader {
  mediaType: MediaType;
  /** As stored, before the orientation is applied. */
  width: number;
  height: number;
  orientation: Orientation;
  /** Bytes of a decoder's working memory beside its RGBA result; an upper estimate. */
  workingBytes: number;
  /** The first frame of an animated WebP; the codec reads still images only. */
  frame?: { offset: number; size: number; x: number; y: number; width: number; height: number };
}

const unreadable = (what: string): CaptionerError => new CaptionerError("IMAGE_UNREADABLE", what);

function ascii(bytes: Uint8Array, at: number, length: number): string {
  return String.fromCharCode(...bytes.subarray(at, at + length));
}

/**
 * Tells the format by its first bytes, never by a name or a declared type, and reads its headers.
 *
 * @throws IMAGE_TYPE_UNSUPPORTED for any format but JPEG, PNG and WebP, and for JPEG variants that
 *   are not read (CMYK, 12 bits, lossless, arithmetic coding).
 * @throws IMAGE_UNREADABLE when the headers are damaged or the file ends too early.
 */
export function sniffImage(bytes: Uint8Array): ImageHeader {
  const header = readHeader(bytes);
  if (header.width < 1 || header.height < 1) throw unreadable("the image has no pixels");
  return header;
}

function readHeader(bytes: Uint8Array): ImageHeader {
  try {
    if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return readJpeg(bytes);
    if (ascii(bytes, 0, 8) === "\x89PNG\r\n\x1a\n") return readPng(bytes);
    if (ascii(bytes, 0, 4) === "RIFF" && ascii(bytes, 8, 4) === "WEBP") return readWebp(bytes);
  } catch (error) {
    // DataView throws RangeError where a header points behind the end of the file.
    if (error instanceof RangeError) throw unreadable("the image ends within its headers");
    throw error;
  }
  throw new CaptionerError("IMAGE_TYPE_UNSUPPORTED", "the image is not a JPEG, PNG or WebP file");
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const unsupportedJpeg = (what: string): CaptionerError =>
  new CaptionerError("IMAGE_TYPE_UNSUPPORTED", `${what} JPEG files are not read`);

function readJpeg(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  let frame: { width: number; height: number; workingBytes: number } | undefined;
  let orientation: Orientation = 1;
  let scanned = false;
  let at = 2;
  for (;;) {
    // Between segments and inside a scan alike: on to the next marker.
    while (at + 1 < bytes.length && !(bytes[at] === 0xff && isMarker(bytes[at + 1]!))) at++;
    if (at + 1 >= bytes.length) throw unreadable("the image is truncated");
    const marker = bytes[at + 1]!;
    at += 2;
    if (marker === 0xd9) break;
    const length = view.getUint16(at);
    if (length < 2 || at + length > bytes.length) throw unreadable("the image is truncated");
    if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
      if (frame) throw unreadable("the image has two frame headers");
      if (marker > 0xc2) throw unsupportedJpeg("lossless and arithmetic-coded");
      frame = jpegFrame(view, at, marker === 0xc2);
    } else if (marker === 0xe1 && ascii(bytes, at + 2, 6) === "Exif\0\0" && orientation === 1) {
      orientation = orientationOf(bytes.subarray(at + 8, at + length));
    } else if (marker === 0xda) {
      scanned = true;
    }
    at += length;
  }
  if (!frame || !scanned) throw unreadable("the image has no picture in it");
  return { mediaType: "image/jpeg", orientation, ...frame };
}

/** 0xff00 is a stuffed byte, 0xffd0 to 0xffd7 restart a scan, 0xffff is padding. */
function isMarker(byte: number): boolean {
  return byte !== 0 && byte !== 0xff && byte !== 0x01 && !(byte >= 0xd0 && byte <= 0xd8);
}

function jpegFrame(
  view: DataView,
  at: number,
  progressive: boolean,
): { width: number; height: number; workingBytes: number } {
  const [precision, height, width, components] = [
    view.getUint8(at + 2),
    view.getUint16(at + 3),
    view.getUint16(at + 5),
    view.getUint8(at + 7),
  ];
  if (precision !== 8) throw unsupportedJpeg(`${precision}-bit`);
  if (components === 4) throw unsupportedJpeg("CMYK");
  // A progressive file keeps all its coefficients, 2 bytes each, until its last scan is read.
  return { width, height, workingBytes: progressive ? width * height * components * 2 : 0 };
}

function readPng(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  if (ascii(bytes, 12, 4) !== "IHDR") throw unreadable("the image has no header");
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  let orientation: Orientation = 1;
  let ended = false;
  for (let at = 8; !ended;) {
    const length = view.getUint32(at);
    const type = ascii(bytes, at + 4, 4);
    if (at + 12 + length > bytes.length) throw unreadable("the image is truncated");
    if (type === "eXIf") orientation = orientationOf(bytes.subarray(at + 8, at + 8 + length));
    ended = type === "IEND";
    at += 12 + length;
  }
  const channels = [1, 0, 3, 1, 2, 0, 4][view.getUint8(25)] ?? 4;
  const bytesPerPixel = channels * (view.getUint8(24) === 16 ? 2 : 1);
  return { mediaType: "image/png", width, height, orientation, workingBytes: width * height * bytesPerPixel };
}

function readWebp(bytes: Uint8Array): ImageHeader {
  const view = viewOf(bytes);
  const end = 8 + view.getUint32(4, true);
  if (end > bytes.length) throw unreadable("the image is truncated");
  let canvas: { width: number; height: number } | undefined;
  let picture: { width: number; height: number } | undefined;
  let frame: ImageHeader["frame"];
  let orientation: Orientation = 1;
  for (let at = 12; at + 8 <= end;) {
    const type = ascii(bytes, at, 4);
    const size = view.getUint32(at + 4, true);
    const body = at + 8;
    if (body + size > end) throw unreadable("the image is truncated");
    if (type === "VP8X") {
      canvas = { width: uint24(view, body + 4) + 1, height: uint24(view, body + 7) + 1 };
    } else if (type === "VP8 " || type === "VP8L") {
      picture ??= stillSize(view, type, body);
    } else if (type === "ANMF") {
      frame ??= animationFrame(view, body, size);
    } else if (type === "EXIF") {
      const prefix = ascii(bytes, body, 6) === "Exif\0\0" ? 6 : 0;
      orientation = orientationOf(bytes.subarray(body + prefix, body + size));
    }
    at = body + size + (size % 2);
  }
  const extent = canvas ?? picture;
  if (!extent || !(picture ?? frame)) throw unreadable("the image has no picture in it");
  if (picture && (picture.width !== extent.width || picture.height !== extent.height)) {
    throw unreadable("the image's two sizes disagree");
  }
  if (frame && (frame.x + frame.width > extent.width || frame.y + frame.height > extent.height)) {
    throw unreadable("the image's first frame lies outside of it");
  }
  const header: ImageHeader = {
    mediaType: "image/webp",
    ...extent,
    orientation,
    workingBytes: extent.width * extent.height * 4,
  };
  if (frame && !picture) header.frame = frame;
  return header;
}

function uint24(view: DataView, at: number): number {
  return view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
}

function stillSize(view: DataView, type: string, at: number): { width: number; height: number } {
  if (type === "VP8L") {
    if (view.getUint8(at) !== 0x2f) throw unreadable("the image's picture is damaged");
    const bits = view.getUint32(at + 1, true);
    return { width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 };
  }
  if (uint24(view, at + 3) !== 0x2a019d) throw unreadable("the image's picture is damaged");
  return { width: view.getUint16(at + 6, true) & 0x3fff, height: view.getUint16(at + 8, true) & 0x3fff };
}

function animationFrame(view: DataView, at: number, size: number): NonNullable<ImageHeader["frame"]> {
  return {
    offset: at + 16,
    size: size - 16,
    x: uint24(view, at) * 2,
    y: uint24(view, at + 3) * 2,
    width: uint24(view, at + 6) + 1,
    height: uint24(view, at + 9) + 1,
  };
}
