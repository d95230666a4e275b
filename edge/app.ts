import { OpenAPIHono } from "@hono/zod-openapi";
import { drizzle } from "drizzle-orm/d1";
import type { Captioner } from "../captioner/index.ts";
import { readEnv } from "./env.ts";
import type { AppEnv, Deps } from "./http/context.ts";
import { newId } from "./http/ids.ts";
import { answerError, answerNotFound, refuseInvalid } from "./http/problem.ts";
import { requestId } from "./http/request-id.ts";
import { adminRoutes } from "./routes/admin.ts";
import { baseModelRoutes } from "./routes/base-models.ts";
import { captionRoutes } from "./routes/captions.ts";
import { feedbackRoutes } from "./routes/feedback.ts";
import { internalRoutes } from "./routes/internal.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { modelRoutes } from "./routes/models.ts";
import { serviceRoutes } from "./routes/service.ts";
import { whoamiRoutes } from "./routes/whoami.ts";
import { openTenant } from "./tenant/client.ts";

/** What the API is made of besides its bindings. */
export interface AppParts {
  captioner: Captioner;
  /** The text of openapi.yaml. */
  openapiYaml: string;
  fetch: typeof fetch;
  resolveHost: Deps["resolveHost"];
  now: () => Date;
}

/** The HTTP API; runs nothing until it is asked. */
export function createApp(parts: AppParts): OpenAPIHono<AppEnv> {
  const app = new OpenAPIHono<AppEnv>({ defaultHook: refuseInvalid });
  app.onError(answerError);
  app.notFound(answerNotFound);
  app.use(requestId());
  app.use(async (c, next) => {
    const env = readEnv(c.env);
    const now = parts.now;
    c.set("deps", {
      env,
      directory: drizzle(env.directory),
      captioner: parts.captioner,
      openTenant: (tenantId) => openTenant(env.tenants, tenantId),
      fetch: parts.fetch,
      resolveHost: parts.resolveHost,
      now,
      newId: (kind) => newId(kind, now()),
      requestId: c.var.requestId,
      defer: (work) => c.executionCtx.waitUntil(work),
    });
    await next();
  });

  app.openAPIRegistry.registerComponent("securitySchemes", "apiKey", {
    type: "http",
    scheme: "bearer",
    description: "A tenant's API key: `dico_…`.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "adminToken", {
    type: "http",
    scheme: "bearer",
    description: "The operator's token.",
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "jobToken", {
    type: "http",
    scheme: "bearer",
    description: "A fine-tune job's own token, known to the GPU worker only.",
  });

  app.route("/", captionRoutes);
  app.route("/", feedbackRoutes);
  app.route("/", jobRoutes);
  app.route("/", modelRoutes);
  app.route("/", whoamiRoutes);
  app.route("/", adminRoutes);
  app.route("/", baseModelRoutes);
  app.route("/", internalRoutes);
  app.route("/", serviceRoutes(parts.openapiYaml));
  return app;
}
