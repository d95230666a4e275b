import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import type { Context } from "hono";
import { z } from "zod";
import {
  Alias,
  AliasHeaders,
  AliasMoveList,
  AliasMoveQuery,
  AliasName,
  AliasRequest,
  Lineage,
  ModelList,
  RollbackRequest,
  Version,
  VersionList,
  VersionListQuery,
} from "../contract/models.ts";
import { ModelName } from "../contract/jobs.ts";
import { limitBody } from "../http/body.ts";
import type { TenantEnv } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { requireScope } from "../http/auth.ts";
import { authRefusals, json, jsonBody, jsonRefusals, pathId, refusals, secured } from "../http/openapi.ts";
import { listBody, pageRequestOf } from "../http/pages.ts";
import { etagOf, listModels, moveFromRow, readAlias, rollBack, setAlias } from "../services/aliases.ts";
import { readLineage } from "../services/lineage.ts";
import { describeVersion, getVersion, listVersions, readManifest } from "../services/versions.ts";
import { openFile } from "../storage/files.ts";

const tags = ["Models"];
const model = pathId("model", "The model's name.");
const version = model.extend(pathId("version", "The version's id.").shape);
const alias = z.object({ model: ModelName, alias: AliasName });

const listModelsRoute = createRoute({
  method: "get",
  path: "/v1/models",
  operationId: "listModels",
  tags,
  summary: "List models and their aliases",
  ...secured("models:read"),
  responses: { 200: json(ModelList, "All of them."), ...refusals(...authRefusals) },
});

const listVersionsRoute = createRoute({
  method: "get",
  path: "/v1/models/{model}/versions",
  operationId: "listVersions",
  tags,
  summary: "List a model's versions",
  description: "Your own, newest first, then the base versions that everyone has.",
  ...secured("models:read"),
  request: { params: model, query: VersionListQuery },
  responses: {
    200: json(VersionList, "One page."),
    ...refusals(...authRefusals, "INVALID_REQUEST", "MODEL_NOT_FOUND"),
  },
});

const getVersionRoute = createRoute({
  method: "get",
  path: "/v1/models/{model}/versions/{version}",
  operationId: "getVersion",
  tags,
  summary: "Read a version",
  ...secured("models:read"),
  request: { params: version },
  responses: {
    200: json(Version, "The version."),
    ...refusals(...authRefusals, "MODEL_NOT_FOUND", "MODEL_UNAVAILABLE"),
  },
});

const getLineage = createRoute({
  method: "get",
  path: "/v1/models/{model}/versions/{version}/lineage",
  operationId: "getLineage",
  tags,
  summary: "Read where a version comes from, round by round",
  description:
    "Thumbs on a version's captions train the next one. Training itself always starts from a base, so that errors do not pile up.",
  ...secured("models:read"),
  request: { params: version },
  responses: { 200: json(Lineage, "The rounds."), ...refusals(...authRefusals, "MODEL_NOT_FOUND") },
});

const getManifest = createRoute({
  method: "get",
  path: "/v1/models/{model}/versions/{version}/manifest",
  operationId: "getManifest",
  tags,
  summary: "Download a version's manifest",
  description: "Its raw bytes: those that are hashed and signed.",
  ...secured("models:read"),
  request: { params: version },
  responses: {
    200: json(z.looseObject({ object: z.literal("model_manifest") }), "manifest.json."),
    ...refusals(...authRefusals, "MODEL_NOT_FOUND", "MODEL_UNAVAILABLE"),
  },
});

const getFile = createRoute({
  method: "get",
  path: "/v1/models/{model}/versions/{version}/files/{path}",
  operationId: "getFile",
  tags,
  summary: "Download one of a version's files",
  description: "The path may hold slashes, as in `onnx/encoder_model.onnx`.",
  security: [{ apiKey: ["models:read"] }],
  request: { params: version.extend(pathId("path", "The file's path within the version.").shape) },
  responses: {
    200: {
      description: "The file.",
      content: { "application/octet-stream": { schema: { type: "string", format: "binary" } } },
    },
    ...refusals(...authRefusals, "MODEL_NOT_FOUND", "FILE_NOT_FOUND", "MODEL_UNAVAILABLE"),
  },
});

const getAlias = createRoute({
  method: "get",
  path: "/v1/models/{model}/aliases/{alias}",
  operationId: "getAlias",
  tags,
  summary: "Read where an alias points",
  ...secured("models:read"),
  request: { params: alias },
  responses: {
    200: json(Alias, "The alias; its ETag is what If-Match takes."),
    ...refusals(...authRefusals, "INVALID_REQUEST", "MODEL_NOT_FOUND"),
  },
});

const putAlias = createRoute({
  method: "put",
  path: "/v1/models/{model}/aliases/{alias}",
  operationId: "putAlias",
  tags,
  summary: "Point an alias to a version",
  description: "Takes effect with the next request. Needs If-Match, so that no one's move is lost.",
  ...secured("models:promote", limitBody()),
  request: { params: alias, headers: AliasHeaders, body: jsonBody(AliasRequest) },
  responses: {
    200: json(Alias, "The alias as it is now."),
    ...refusals(
      ...authRefusals,
      ...jsonRefusals,
      "MODEL_NOT_FOUND",
      "VERSION_NOT_PROMOTABLE",
      "PRECONDITION_FAILED",
      "PRECONDITION_REQUIRED",
    ),
  },
});

const rollback = createRoute({
  method: "post",
  path: "/v1/models/{model}/aliases/{alias}/rollback",
  operationId: "rollBackAlias",
  tags,
  summary: "Point an alias to the version before",
  description: "Each further call goes one version further back. If-Match is optional here.",
  ...secured("models:promote", limitBody()),
  request: { params: alias, headers: AliasHeaders, body: jsonBody(RollbackRequest) },
  responses: {
    200: json(Alias, "The alias as it is now."),
    ...refusals(...authRefusals, ...jsonRefusals, "MODEL_NOT_FOUND", "ALIAS_CONFLICT", "PRECONDITION_FAILED"),
  },
});

const history = createRoute({
  method: "get",
  path: "/v1/models/{model}/aliases/{alias}/history",
  operationId: "listAliasMoves",
  tags,
  summary: "List an alias's moves",
  ...secured("models:read"),
  request: { params: alias, query: AliasMoveQuery },
  responses: {
    200: json(AliasMoveList, "One page."),
    ...refusals(...authRefusals, "INVALID_REQUEST", "MODEL_NOT_FOUND"),
  },
});

// Content named by a digest never changes.
const forGood = "private, max-age=31536000, immutable";

export const modelRoutes = new OpenAPIHono<TenantEnv>()
  .openapi(listModelsRoute, async (c) => {
    const data = await listModels(c.var.tenantDeps);
    return c.json({ object: "list" as const, data, has_more: false as const, next_cursor: null }, 200);
  })
  .openapi(listVersionsRoute, async (c) => {
    const page = await listVersions(c.var.tenantDeps, c.req.valid("param").model, pageRequestOf(c.req.valid("query")));
    return c.json(
      listBody(page, (row) => row),
      200,
    );
  })
  .openapi(getVersionRoute, async (c) => {
    const param = c.req.valid("param");
    const known = await getVersion(c.var.tenantDeps, param.model, param.version);
    return c.json(await describeVersion(c.var.tenantDeps, known), 200);
  })
  .openapi(getLineage, async (c) => {
    const param = c.req.valid("param");
    const known = await getVersion(c.var.tenantDeps, param.model, param.version);
    return c.json(await readLineage(c.var.tenantDeps, known), 200);
  })
  .openapi(getManifest, async (c) => {
    const param = c.req.valid("param");
    const known = await getVersion(c.var.tenantDeps, param.model, param.version);
    // Typed as JSON by the contract; sent as the very bytes that are signed.
    return sendFile(c, (known.own ?? known.base).manifestSha256, "application/json") as never;
  })
  .openapi(getAlias, async (c) => {
    const found = await readAlias(c.var.tenantDeps, c.req.valid("param"));
    return c.json(found, 200, { etag: etagOf(found) });
  })
  .openapi(putAlias, async (c) => {
    const by = { ifMatch: c.req.header("if-match"), actor: c.var.caller.keyId };
    const moved = await setAlias(c.var.tenantDeps, c.req.valid("param"), c.req.valid("json"), by);
    return c.json(moved, 200, { etag: etagOf(moved) });
  })
  .openapi(rollback, async (c) => {
    const by = { ifMatch: c.req.header("if-match"), actor: c.var.caller.keyId };
    const moved = await rollBack(c.var.tenantDeps, c.req.valid("param"), c.req.valid("json"), by);
    return c.json(moved, 200, { etag: etagOf(moved) });
  })
  .openapi(history, async (c) => {
    const key = c.req.valid("param");
    await readAlias(c.var.tenantDeps, key);
    const page = await c.var.tenantDeps.tenant.listAliasMoves({ ...key, ...pageRequestOf(c.req.valid("query")) });
    const rows = page.rows.map((row) => ({ ...row, id: String(row.revision) }));
    return c.json(listBody({ ...page, rows }, moveFromRow), 200);
  });

// OpenAPI's {path} ends at a slash, the route's does not: so it is described and served apart.
modelRoutes.openAPIRegistry.registerPath(getFile);
modelRoutes.get("/v1/models/:model/versions/:version/files/:path{.+}", requireScope("models:read"), async (c) => {
  const param = c.req.param();
  const known = await getVersion(c.var.tenantDeps, param.model, param.version);
  const manifest = await readManifest(c.var.tenantDeps, (known.own ?? known.base).manifestSha256);
  const file = manifest.files.find(({ path }) => path === param.path);
  if (!file) throw new ApiError("FILE_NOT_FOUND", "The version has no such file.");
  return sendFile(c, file.sha256, "application/octet-stream");
});

async function sendFile(c: Context<TenantEnv>, sha256: string, contentType: string): Promise<Response> {
  const file = await openFile(c.var.tenantDeps.env, sha256);
  if (!file) throw new ApiError("MODEL_UNAVAILABLE", "The file cannot be read.");
  return c.body(file.body, 200, {
    "content-type": contentType,
    "content-length": String(file.size),
    "cache-control": forGood,
    etag: `"${sha256}"`,
  });
}
