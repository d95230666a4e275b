import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { createRuntime, type Runtime } from "./runtime.ts";

/** The runtime in Node, its modules read from the installed packages. */
export async function createNodeRuntime(): Promise<Runtime> {
  // The types at hand are workerd's, where nothing is compiled at run time.
  const { compile } = WebAssembly as unknown as { compile: (bytes: Uint8Array) => Promise<WebAssembly.Module> };
  const load = async (specifier: string): Promise<WebAssembly.Module> =>
    compile(await readFile(fileURLToPath(import.meta.resolve(specifier))));
  return createRuntime({
    onnx: await load("onnxruntime-web/ort-wasm-simd-threaded.wasm"),
    jpeg: await load("@jsquash/jpeg/codec/dec/mozjpeg_dec.wasm"),
    png: await load("@jsquash/png/codec/pkg/squoosh_png_bg.wasm"),
    webp: await load("@jsquash/webp/codec/dec/webp_dec.wasm"),
  });
}
