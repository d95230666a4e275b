import jpeg from "@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm";
import * as png from "@jsquash/png/codec/pkg/squoosh_png_bg.wasm";
import webp from "@jsquash/webp/codec/dec/webp_dec.wasm";
import onnx from "onnxruntime-web/ort-wasm-simd-threaded.wasm";
import { createRuntime, type Runtime } from "./runtime.ts";

/** The runtime in workerd, whose bundler compiles imported .wasm files. */
export function createWorkerdRuntime(): Runtime {
  // The package declares this file's exports instead of the module that bundlers hand out.
  const { default: pngModule } = png as unknown as { default: WebAssembly.Module };
  return createRuntime({ onnx, jpeg, png: pngModule, webp });
}
