import type { PixelView } from "./resize.ts";

/** EXIF's eight ways in which a stored image is turned; 1 is upright. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

const orientationTag = 0x0112;

/** The orientation in a TIFF block; 1 when there is none or the block is damaged. */
export function orientationOf(tiff: Uint8Array): Orientation {
  const view = new DataView(tiff.buffer, tiff.byteOffset, tiff.byteLength);
  try {
    const order = view.getUint16(0);
    if (order !== 0x4949 && order !== 0x4d4d) return 1;
    const little = order === 0x4949;
    if (view.getUint16(2, little) !== 42) return 1;
    const directory = view.getUint32(4, little);
    const entries = view.getUint16(directory, little);
    for (let i = 0; i < entries; i++) {
      const at = directory + 2 + i * 12;
      if (view.getUint16(at, little) !== orientationTag) continue;
      const value = view.getUint16(at + 2, little) === 3 ? view.getUint16(at + 8, little) : 1;
      return isOrientation(value) ? value : 1;
    }
  } catch (error) {
    // A directory that points behind its block says nothing about the pixels.
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}

function isOrientation(value: number): value is Orientation {
  return Number.isInteger(value) && value >= 1 && value <= 8;
}

/** Looks at stored RGBA pixels the way `orientation` asks, without moving any. */
export function orientedView(
  data: PixelView["data"],
  width: number,
  height: number,
  orientation: Orientation,
): PixelView {
  const row = width * 4;
  const right = row - 4;
  const bottom = row * (height - 1);
  const upright = { data, width, height };
  const turned = { data, width: height, height: width };
  switch (orientation) {
    case 1:
      return { ...upright, offset: 0, xStride: 4, yStride: row };
    case 2:
      return { ...upright, offset: right, xStride: -4, yStride: row };
    case 3:
      return { ...upright, offset: bottom + right, xStride: -4, yStride: -row };
    case 4:
      return { ...upright, offset: bottom, xStride: 4, yStride: -row };
    case 5:
      return { ...turned, offset: 0, xStride: row, yStride: 4 };
    case 6:
      return { ...turned, offset: bottom, xStride: -row, yStride: 4 };
    case 7:
      return { ...turned, offset: bottom + right, xStride: -row, yStride: -4 };
    case 8:
      return { ...turned, offset: right, xStride: row, yStride: -4 };
  }
}
