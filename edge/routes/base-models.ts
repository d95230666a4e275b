import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import { BaseModel, BaseModelRequest, StoredFile } from "../contract/models.ts";
import { limitBody } from "../http/body.ts";
import type { AppEnv } from "../http/context.ts";
import { adminOnly, json, jsonBody, jsonRefusals, pathId, refusals } from "../http/openapi.ts";
import { publishBase } from "../services/base-models.ts";
import { storeFile } from "../storage/files.ts";

const tags = ["Administration"];

const putFile = createRoute({
  method: "put",
  path: "/admin/files/{sha256}",
  operationId: "putFile",
  tags,
  summary: "Store a file of a base version",
  ...adminOnly(),
  request: {
    params: pathId("sha256", "The SHA-256 of the body, hexadecimal."),
    body: {
      required: true,
      content: { "application/octet-stream": { schema: { type: "string", format: "binary" } } },
    },
  },
  responses: {
    200: json(StoredFile, "It was there already."),
    201: json(StoredFile, "It is stored."),
    ...refusals("UNAUTHENTICATED", "INVALID_REQUEST", "BODY_TOO_LARGE", "DIGEST_MISMATCH", "STORE_UNAVAILABLE"),
  },
});

const createBaseModel = createRoute({
  method: "post",
  path: "/admin/base_models",
  operationId: "createBaseModel",
  tags,
  summary: "Offer a version to every tenant",
  description: "The newest base of a model is what `production` names for a tenant that has not moved it.",
  ...adminOnly(limitBody()),
  request: { body: jsonBody(BaseModelRequest) },
  responses: {
    200: json(BaseModel, "It was offered already."),
    201: json(BaseModel, "It is offered."),
    ...refusals("UNAUTHENTICATED", ...jsonRefusals, "MANIFEST_INVALID", "SIGNATURE_INVALID", "FILES_MISSING"),
  },
});

export const baseModelRoutes = new OpenAPIHono<AppEnv>()
  .openapi(putFile, async (c) => {
    const { sha256 } = c.req.valid("param");
    const { size, created } = await storeFile(c.var.deps.env, sha256, c.req.raw);
    return c.json({ object: "file" as const, sha256, size }, created ? 201 : 200);
  })
  .openapi(createBaseModel, async (c) => {
    const { baseModel, created } = await publishBase(c.var.deps, c.req.valid("json"));
    return c.json(baseModel, created ? 201 : 200);
  });
