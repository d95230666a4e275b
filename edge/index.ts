import { resolve4, resolve6 } from "node:dns/promises";
import openapiYaml from "../openapi.yaml";
import { createApp } from "./app.ts";
import { captioner } from "./isolate.ts";

const app = createApp({
  captioner,
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
