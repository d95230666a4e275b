import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import { sql } from "drizzle-orm";
import { z } from "zod";
import { Health } from "../contract/health.ts";
import type { AppEnv } from "../http/context.ts";
import { json, refusals } from "../http/openapi.ts";

const tags = ["Service"];

const healthz = createRoute({
  method: "get",
  path: "/healthz",
  operationId: "healthz",
  tags,
  summary: "Is the service up?",
  responses: { 200: json(Health, "It is."), ...refusals() },
});

const openapi = createRoute({
  method: "get",
  path: "/openapi.yaml",
  operationId: "openapi",
  tags,
  summary: "This description",
  responses: {
    200: { description: "OpenAPI 3.1.", content: { "application/yaml": { schema: z.string() } } },
    ...refusals(),
  },
});

const docs = createRoute({
  method: "get",
  path: "/docs",
  operationId: "docs",
  tags,
  summary: "This description, to be read and tried",
  responses: {
    200: { description: "A page.", content: { "text/html": { schema: z.string() } } },
    ...refusals(),
  },
});

const docsPage = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Captions that learn: API</title>
</head>
<body>
<script id="api-reference" data-url="/openapi.yaml" data-configuration='{"withDefaultFonts":false,"hideClientButton":true,"telemetry":false,"agent":{"disabled":true},"mcp":{"disabled":true}}'></script>
<script src="/docs/scalar.js"></script>
</body>
</html>
`;

/** What anyone may read; `openapiYaml` is the text of the committed description. */
export function serviceRoutes(openapiYaml: string): OpenAPIHono<AppEnv> {
  return new OpenAPIHono<AppEnv>()
    .openapi(healthz, async (c) => {
      await c.var.deps.directory.run(sql`select 1`);
      return c.json({ object: "health" as const, status: "ok" as const }, 200);
    })
    .openapi(openapi, (c) => c.body(openapiYaml, 200, { "content-type": "application/yaml" }))
    .openapi(docs, (c) =>
      c.html(docsPage, 200, {
        "content-security-policy":
          "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'",
      }),
    );
}
