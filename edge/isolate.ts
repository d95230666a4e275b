// What an isolate has one of, whoever asks: the HTTP API and the Workflow may share an isolate.
import { createCaptioner } from "../captioner/index.ts";
import { createWorkerdRuntime } from "../captioner/runtime-workerd.ts";

// An isolate has 128 MB: what is not here is for the wasm itself, requests and their images.
const memoryBudgetBytes = 72_000_000;

export const captioner = createCaptioner({ runtime: createWorkerdRuntime(), memoryBudgetBytes });
