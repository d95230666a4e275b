import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import {
  Caption,
  CaptionForm,
  CaptionList,
  CaptionListQuery,
  CaptionQuery,
  CaptionRequest,
  DeletedCaption,
} from "../contract/captions.ts";
import { limitBody } from "../http/body.ts";
import type { TenantEnv } from "../http/context.ts";
import { IdempotencyHeaders, idempotent } from "../http/idempotency.ts";
import { authRefusals, json, jsonRefusals, pathId, refusals, secured } from "../http/openapi.ts";
import { listBody, pageRequestOf } from "../http/pages.ts";
import { captionFromRow, captionImage } from "../services/captioning.ts";
import { maxRequestBytes, readImage } from "./image-input.ts";

const captionId = pathId("caption_id", "The caption's id.");

const createCaption = createRoute({
  method: "post",
  path: "/v1/captions",
  operationId: "createCaption",
  tags: ["Captions"],
  summary: "Caption an image",
  description:
    "Send the image itself (`content-type: image/jpeg`, options in the query), a form with a file `image`, or JSON with a URL or base64. JPEG, PNG or WebP (of an animation the first frame), at most 10 MB and 40 megapixels.",
  ...secured("captions:write", limitBody(maxRequestBytes), idempotent()),
  request: {
    headers: IdempotencyHeaders,
    query: CaptionQuery,
    body: {
      content: {
        // Named, not given: the body is read by its content type in readImage.
        "application/json": { schema: { $ref: "#/components/schemas/CaptionRequest" } },
        "multipart/form-data": { schema: { $ref: "#/components/schemas/CaptionForm" } },
        "image/*": { schema: { type: "string", format: "binary" } },
      },
    },
  },
  responses: {
    201: json(Caption, "The caption."),
    ...refusals(
      ...authRefusals,
      ...jsonRefusals,
      "IMAGE_TOO_LARGE",
      "IMAGE_TYPE_UNSUPPORTED",
      "IMAGE_TOO_MANY_PIXELS",
      "IMAGE_UNREADABLE",
      "IMAGE_URL_REFUSED",
      "IMAGE_URL_UNREACHABLE",
      "MODEL_NOT_FOUND",
      "IDEMPOTENCY_IN_FLIGHT",
      "IDEMPOTENCY_KEY_REUSED",
      "MODEL_UNAVAILABLE",
      "STORE_UNAVAILABLE",
    ),
  },
});

const listCaptions = createRoute({
  method: "get",
  path: "/v1/captions",
  operationId: "listCaptions",
  tags: ["Captions"],
  summary: "List captions",
  ...secured("captions:write"),
  request: { query: CaptionListQuery },
  responses: { 200: json(CaptionList, "One page."), ...refusals(...authRefusals, "INVALID_REQUEST") },
});

const getCaption = createRoute({
  method: "get",
  path: "/v1/captions/{caption_id}",
  operationId: "getCaption",
  tags: ["Captions"],
  summary: "Read a caption",
  ...secured("captions:write"),
  request: { params: captionId },
  responses: { 200: json(Caption, "The caption."), ...refusals(...authRefusals, "CAPTION_NOT_FOUND") },
});

const deleteCaption = createRoute({
  method: "delete",
  path: "/v1/captions/{caption_id}",
  operationId: "deleteCaption",
  tags: ["Captions"],
  summary: "Delete a caption",
  description: "Deletes the caption and its feedback, and the image once no other caption shows it.",
  ...secured("captions:write"),
  request: { params: captionId },
  responses: { 200: json(DeletedCaption, "It is gone."), ...refusals(...authRefusals, "CAPTION_NOT_FOUND") },
});

export const captionRoutes = new OpenAPIHono<TenantEnv>();
captionRoutes.openAPIRegistry.register("CaptionRequest", CaptionRequest);
captionRoutes.openAPIRegistry.register("CaptionForm", CaptionForm);

captionRoutes
  .openapi(createCaption, async (c) => {
    const { image, options } = await readImage(c.var.tenantDeps, {
      body: c.var.body,
      contentType: c.req.header("content-type") ?? "",
      query: c.req.valid("query"),
      hasQuery: new URL(c.req.url).search !== "",
    });
    return c.json(await captionImage(c.var.tenantDeps, image, options), 201);
  })
  .openapi(listCaptions, async (c) => {
    const query = c.req.valid("query");
    const { tenant } = c.var.tenantDeps;
    const page = await tenant.listCaptions({ ...pageRequestOf(query), version: query.version });
    return c.json(listBody(page, captionFromRow), 200);
  })
  .openapi(getCaption, async (c) => {
    const row = await c.var.tenantDeps.tenant.getCaption(c.req.valid("param").caption_id);
    return c.json(captionFromRow(row), 200);
  })
  .openapi(deleteCaption, async (c) => {
    const { tenant, tenantId } = c.var.tenantDeps;
    const { caption_id: id } = c.req.valid("param");
    await tenant.deleteCaption(tenantId, id);
    return c.json({ object: "caption" as const, id, deleted: true as const }, 200);
  });
