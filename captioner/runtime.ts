import * as ort from "onnxruntime-web/wasm";
import type { Codecs } from "./pixels/decode.ts";

/** WebAssembly modules, compiled ahead: workerd compiles none at run time. */
export interface RuntimeModules extends Codecs {
  /** onnxruntime-web's ort-wasm-simd-threaded.wasm. */
  onnx: WebAssembly.Module;
}

/** An onnxruntime with the image decoders beside it; one per isolate or process. */
export interface Runtime {
  codecs: Codecs;
  /** Opens a model; not reentrant, so callers queue. */
  createSession(model: Uint8Array): Promise<ort.InferenceSession>;
  /** Size of onnxruntime's heap, which grows and never shrinks; 0 before the first session. */
  heapBytes(): number;
}

type Instantiate = (source: unknown, imports: WebAssembly.Imports) => Promise<unknown>;

/** Prepares onnxruntime-web to run on `modules`, single-threaded; nothing is loaded yet. */
export function createRuntime(modules: RuntimeModules): Runtime {
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.proxy = false;
  // Taken for the file's bytes; `withModule` recognises it and puts the compiled module instead.
  const placeholder = new ArrayBuffer(8);
  ort.env.wasm.wasmBinary = placeholder;
  let memory: WebAssembly.Memory | undefined;

  const withModule = async <T>(work: () => Promise<T>): Promise<T> => {
    const wasm = WebAssembly as unknown as { instantiate: Instantiate };
    const real = wasm.instantiate;
    wasm.instantiate = async (source, imports) => {
      if (!isPlaceholder(source, placeholder)) return real.call(WebAssembly, source, imports);
      // Synchronous, so that loading never waits for an event of a request that may be cancelled.
      const instance = new WebAssembly.Instance(modules.onnx, imports);
      memory = memoryOf(imports) ?? memoryOf({ exports: instance.exports });
      return { module: modules.onnx, instance };
    };
    try {
      return await work();
    } finally {
      wasm.instantiate = real;
    }
  };

  return {
    codecs: modules,
    createSession: async (model) => {
      const create = (): Promise<ort.InferenceSession> =>
        ort.InferenceSession.create(model, {
          executionProviders: ["wasm"],
          graphOptimizationLevel: "all",
          logSeverityLevel: 3,
          // Weight-only int8 stays a DequantizeLinear; fused kernels would quantise activations.
          extra: { session: { disable_quant_qdq: "1" } },
        });
      return memory ? create() : withModule(create);
    },
    heapBytes: () => memory?.buffer.byteLength ?? 0,
  };
}

function isPlaceholder(source: unknown, placeholder: ArrayBuffer): boolean {
  return source === placeholder || (ArrayBuffer.isView(source) && source.buffer === placeholder);
}

function memoryOf(imports: Record<string, object>): WebAssembly.Memory | undefined {
  for (const values of Object.values(imports)) {
    for (const value of Object.values(values)) if (value instanceof WebAssembly.Memory) return value;
  }
  return undefined;
}
