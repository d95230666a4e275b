import mozjpeg from "@jsquash/jpeg/codec/dec/mozjpeg_dec.js";
import libwebp from "@jsquash/webp/codec/dec/webp_dec.js";
import { CaptionerError } from "../errors.ts";
import type { ImageHeader } from "./sniff.ts";
import { stillFromFrame } from "./webp-frame.ts";

/** The compiled decoders of @jsquash. */
export interface Codecs {
  jpeg: WebAssembly.Module;
  png: WebAssembly.Module;
  webp: WebAssembly.Module;
}

/** Reads decoded RGBA pixels; the memory is the decoder's and is gone when this returns. */
export type UsePixels<T> = (data: Uint8ClampedArray, width: number, height: number) => T;

/**
 * Decodes an image and hands its pixels, composited on white, to `use`.
 *
 * Each call runs in a fresh WebAssembly instance: what a hostile file does to a decoder's memory
 * ends with the call, and the memory of a large image is returned, which a grown one never is.
 *
 * @throws IMAGE_UNREADABLE when the decoder gives up.
 */
export async function decodeImage<T>(
  codecs: Codecs,
  bytes: Uint8Array,
  header: ImageHeader,
  use: UsePixels<T>,
): Promise<T> {
  const still = header.frame ? stillFromFrame(bytes, header.frame) : bytes;
  const expected = header.frame ?? header;
  let result: { value: T } | undefined;
  const receive: UsePixels<void> = (data, width, height) => {
    if (width !== expected.width || height !== expected.height) throw new Error("another size");
    compositeOnWhite(data);
    const canvas = header.frame ? onWhiteCanvas(data, header.frame, header) : data;
    result = { value: use(canvas, header.width, header.height) };
  };
  try {
    if (header.mediaType === "image/png") decodePng(codecs.png, still, receive);
    else if (header.mediaType === "image/jpeg") await decodeJpeg(codecs.jpeg, still, receive);
    else await decodeWebp(codecs.webp, still, receive);
  } catch (error) {
    throw new CaptionerError("IMAGE_UNREADABLE", "the image's pixels cannot be decoded", error);
  }
  if (!result) throw new CaptionerError("IMAGE_UNREADABLE", "the image's pixels cannot be decoded");
  return result.value;
}

/** Blends in place with Pillow's `paste(image, mask=alpha)` on white, which rounds in this way. */
function compositeOnWhite(data: Uint8ClampedArray): void {
  for (let at = 3; at < data.length; at += 4) {
    const alpha = data[at]!;
    if (alpha === 255) continue;
    for (let channel = at - 3; channel < at; channel++) {
      const sum = 255 * (255 - alpha) + data[channel]! * alpha + 128;
      data[channel] = ((sum >> 8) + sum) >> 8;
    }
    data[at] = 255;
  }
}

function onWhiteCanvas(
  data: Uint8ClampedArray,
  frame: NonNullable<ImageHeader["frame"]>,
  size: { width: number; height: number },
): Uint8ClampedArray {
  const canvas = new Uint8ClampedArray(size.width * size.height * 4).fill(255);
  for (let y = 0; y < frame.height; y++) {
    const row = data.subarray(y * frame.width * 4, (y + 1) * frame.width * 4);
    canvas.set(row, ((frame.y + y) * size.width + frame.x) * 4);
  }
  return canvas;
}

const silent = (): void => {};

function emscriptenOptions(module: WebAssembly.Module): Parameters<typeof mozjpeg>[0] {
  return {
    noInitialRun: true,
    print: silent,
    printErr: silent,
    instantiateWasm: (imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void) => {
      const instance = new WebAssembly.Instance(module, imports);
      receive(instance);
      return instance.exports;
    },
  };
}

async function decodeJpeg(module: WebAssembly.Module, bytes: Uint8Array, receive: UsePixels<void>): Promise<void> {
  const decoder = await mozjpeg(emscriptenOptions(module));
  withImageData(receive, () => decoder.decode(bytes as Uint8Array<ArrayBuffer>, false));
}

async function decodeWebp(module: WebAssembly.Module, bytes: Uint8Array, receive: UsePixels<void>): Promise<void> {
  const decoder = await libwebp(emscriptenOptions(module));
  withImageData(receive, () => decoder.decode(bytes as Uint8Array<ArrayBuffer>));
}

/**
 * Runs a synchronous decode whose C++ looks up these two globals to build its result, and takes
 * the pixels where they lie in the decoder's memory: a copy of 40 megapixels would be 160 MB.
 */
function withImageData(receive: UsePixels<void>, decode: () => unknown): void {
  const globals: Record<string, unknown> = globalThis;
  const realArray = Uint8ClampedArray;
  const realImageData = globals["ImageData"];
  globals["Uint8ClampedArray"] = function viewOnly(view: Uint8Array): Uint8Array {
    return view;
  };
  globals["ImageData"] = function takePixels(view: Uint8Array, width: number, height: number): object {
    globals["Uint8ClampedArray"] = realArray;
    receive(new realArray(view.buffer, view.byteOffset, view.byteLength), width, height);
    return {};
  };
  try {
    decode();
  } finally {
    globals["Uint8ClampedArray"] = realArray;
    globals["ImageData"] = realImageData;
  }
}

interface PngExports {
  memory: WebAssembly.Memory;
  __wbindgen_malloc(size: number, alignment: number): number;
  decode(pointer: number, length: number): number;
}

/** The Rust module's own glue keeps one instance for ever, so its two live imports are given here. */
function decodePng(module: WebAssembly.Module, bytes: Uint8Array, receive: UsePixels<void>): void {
  const unused = (): never => {
    throw new Error("not used by decode");
  };
  const imports: Record<string, (...values: number[]) => number | void> = {};
  for (const { name } of WebAssembly.Module.imports(module)) {
    imports[name] = name.startsWith("__wbg_newwithownedu8clampedarrayandsh_")
      ? (pointer, length, width, height) => {
          receive(new Uint8ClampedArray(wasm.memory.buffer, pointer! >>> 0, length), width! >>> 0, height! >>> 0);
          return 0;
        }
      : unused;
  }
  const instance = new WebAssembly.Instance(module, { wbg: imports });
  // The module is pinned by version; these are the exports its generated glue uses.
  const wasm = instance.exports as unknown as PngExports;
  const pointer = wasm.__wbindgen_malloc(bytes.length, 1) >>> 0;
  new Uint8Array(wasm.memory.buffer).set(bytes, pointer);
  wasm.decode(pointer, bytes.length);
}
