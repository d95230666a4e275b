import { CaptionerError } from "../errors.ts";
import type { PreprocessorConfig } from "../version-config.ts";
import { decodeImage, type Codecs } from "./decode.ts";
import { orientedView } from "./exif.ts";
import { resizeBicubic, type PixelView } from "./resize.ts";
import { sniffImage, type ImageHeader, type MediaType } from "./sniff.ts";

/** What an image may cost before it is refused. */
export interface ImageLimits {
  maxBytes: number;
  maxPixels: number;
  /** Longer side over shorter side. */
  maxAspectRatio: number;
  /** Memory that decoding may take beside everything else. */
  maxDecodeBytes: number;
}

/** The image as its viewer sees it. */
export interface ImageFacts {
  width: number;
  height: number;
  mediaType: MediaType;
}

/** An image ready for the tower. */
export interface Preprocessed {
  /** float32 [3, side, side]. */
  pixelValues: Float32Array;
  side: { width: number; height: number };
  image: ImageFacts;
}

/**
 * Checks an image's headers against the limits; cheap, decodes nothing.
 *
 * @throws IMAGE_TOO_LARGE | IMAGE_TOO_MANY_PIXELS | IMAGE_TYPE_UNSUPPORTED | IMAGE_UNREADABLE
 */
export function inspectImage(bytes: Uint8Array, limits: ImageLimits): ImageHeader {
  if (bytes.length > limits.maxBytes) {
    throw new CaptionerError("IMAGE_TOO_LARGE", `an image may have at most ${limits.maxBytes} bytes`);
  }
  const header = sniffImage(bytes);
  const pixels = header.width * header.height;
  if (pixels > limits.maxPixels) {
    throw new CaptionerError("IMAGE_TOO_MANY_PIXELS", `an image may have at most ${limits.maxPixels} pixels`);
  }
  if (pixels * 4 + header.workingBytes + bytes.length > limits.maxDecodeBytes) {
    throw new CaptionerError("IMAGE_TOO_MANY_PIXELS", "decoding the image takes more memory than there is");
  }
  if (Math.max(header.width, header.height) > limits.maxAspectRatio * Math.min(header.width, header.height)) {
    throw new CaptionerError("IMAGE_UNREADABLE", "the image is too narrow to show anything");
  }
  return header;
}

/** What the viewer calls width and height, whichever way the file stores them. */
export function factsOf(header: ImageHeader): ImageFacts {
  const turned = header.orientation >= 5;
  return {
    width: turned ? header.height : header.width,
    height: turned ? header.width : header.height,
    mediaType: header.mediaType,
  };
}

/**
 * Decodes, turns, composites on white, resizes and crops: RGB, [height, width, 3].
 *
 * Equal bit for bit to `dico.pixels` for the same decoded pixels.
 */
export async function renderSquare(
  codecs: Codecs,
  bytes: Uint8Array,
  header: ImageHeader,
  config: PreprocessorConfig,
): Promise<Uint8Array> {
  return decodeImage(codecs, bytes, header, (data, width, height) =>
    fitAndCrop(orientedView(data, width, height, header.orientation), config),
  );
}

/** Shrinks the shorter side to the configured edge and cuts out the centre. */
export function fitAndCrop(view: PixelView, config: PreprocessorConfig): Uint8Array {
  const { width, height } = resizedSize(view.width, view.height, config.size);
  const crop = config.crop_size;
  if (crop.width > width || crop.height > height) {
    throw new CaptionerError("MODEL_INVALID", "preprocessor_config.json crops more than it resizes");
  }
  return resizeBicubic(view, width, height, {
    left: Math.floor((width - crop.width) / 2),
    top: Math.floor((height - crop.height) / 2),
    width: crop.width,
    height: crop.height,
  });
}

function resizedSize(
  width: number,
  height: number,
  size: PreprocessorConfig["size"],
): { width: number; height: number } {
  if (!("shortest_edge" in size)) return size;
  const edge = size.shortest_edge;
  return width <= height
    ? { width: edge, height: Math.trunc((edge * height) / width) }
    : { width: Math.trunc((edge * width) / height), height: edge };
}

/** RGB [H, W, 3] to normalised float32 [3, H, W], each step rounded to float32 as NumPy does. */
export function normalise(rgb: Uint8Array, config: PreprocessorConfig): Float32Array {
  const area = rgb.length / 3;
  const values = new Float32Array(rgb.length);
  const scale = Math.fround(config.rescale_factor ?? 1 / 255);
  for (let channel = 0; channel < 3; channel++) {
    const mean = Math.fround(config.image_mean[channel]!);
    const deviation = Math.fround(config.image_std[channel]!);
    const table = Float32Array.from({ length: 256 }, (_, level) =>
      Math.fround(Math.fround(Math.fround(level * scale) - mean) / deviation),
    );
    for (let i = 0; i < area; i++) values[channel * area + i] = table[rgb[i * 3 + channel]!]!;
  }
  return values;
}
