import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import { Feedback, FeedbackList, FeedbackQuery, FeedbackRequest } from "../contract/feedback.ts";
import { limitBody } from "../http/body.ts";
import type { TenantEnv } from "../http/context.ts";
import { IdempotencyHeaders, idempotent } from "../http/idempotency.ts";
import { authRefusals, json, jsonBody, jsonRefusals, pathId, refusals, secured } from "../http/openapi.ts";
import { listBody, pageRequestOf } from "../http/pages.ts";
import { feedbackFromRow, recordFeedback } from "../services/feedback.ts";

const submitFeedback = createRoute({
  method: "post",
  path: "/v1/captions/{caption_id}/feedback",
  operationId: "submitFeedback",
  tags: ["Feedback"],
  summary: "Rate a caption",
  description: "One thumb per caption and viewer: a second one replaces the first and keeps its id.",
  ...secured("feedback:write", limitBody(), idempotent()),
  request: {
    headers: IdempotencyHeaders,
    params: pathId("caption_id", "The caption's id."),
    body: jsonBody(FeedbackRequest),
  },
  responses: {
    200: json(Feedback, "It replaced this viewer's earlier thumb."),
    201: json(Feedback, "It is this viewer's first thumb on the caption."),
    ...refusals(
      ...authRefusals,
      ...jsonRefusals,
      "CAPTION_NOT_FOUND",
      "IDEMPOTENCY_IN_FLIGHT",
      "IDEMPOTENCY_KEY_REUSED",
    ),
  },
});

const listFeedback = createRoute({
  method: "get",
  path: "/v1/feedback",
  operationId: "listFeedback",
  tags: ["Feedback"],
  summary: "List feedback",
  ...secured("captions:write"),
  request: { query: FeedbackQuery },
  responses: { 200: json(FeedbackList, "One page."), ...refusals(...authRefusals, "INVALID_REQUEST") },
});

export const feedbackRoutes = new OpenAPIHono<TenantEnv>()
  .openapi(submitFeedback, async (c) => {
    const { caption_id } = c.req.valid("param");
    const { feedback, created } = await recordFeedback(c.var.tenantDeps, caption_id, c.req.valid("json"));
    return c.json(feedback, created ? 201 : 200);
  })
  .openapi(listFeedback, async (c) => {
    const query = c.req.valid("query");
    const page = await c.var.tenantDeps.tenant.listFeedback({
      ...pageRequestOf(query),
      rating: query.rating,
      version: query.version,
    });
    return c.json(listBody(page, feedbackFromRow), 200);
  });
