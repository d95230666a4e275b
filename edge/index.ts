import { resolve4, resolve6 } from "node:dns/promises";
import { createCaptioner } from "../captioner/index.ts";
import { createWorkerdRuntime } from "../captioner/runtime-workerd.ts";
import openapiYaml from "../openapi.yaml";
import { createApp } from "./app.ts";

// An isolate has 128 MB: what is not here is for the wasm itself, requests and their images.
const memoryBudgetBytes = 72_000_000;

const app = createApp({
  captioner: createCaptioner({ runtime: createWorkerdRuntime(), memoryBudgetBytes }),
  openapiYaml,
  fetch: (...request) => fetch(...request),
  resolveHost: async (hostname) => {
    const found = await Promise.allSettled([resolve4(hostname), resolve6(hostname)]);
    return found.flatMap((answer) => (answer.status === "fulfilled" ? answer.value : []));
  },
  now: () => new Date(),
});

export default { fetch: app.fetch } satisfies ExportedHandler<Cloudflare.Env>;
export { FineTuneWorkflow } from "./fine-tune/workflow.ts";
export { TenantStore } from "./tenant/store.ts";
