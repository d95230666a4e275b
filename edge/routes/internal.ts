// What a GPU worker reads from and sends to the edge, with the token of one job.
import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { imageMediaTypes } from "../../db/value-lists.ts";
import { CallbackReceipt, StoredFile } from "../contract/models.ts";
import { DataSet, TrainerCallback } from "../contract/trainer.ts";
import { dataSetKey } from "../fine-tune/data-set.ts";
import { receiveCallback } from "../fine-tune/callbacks.ts";
import { limitBody } from "../http/body.ts";
import { ApiError } from "../http/errors.ts";
import { requireJob, type JobEnv } from "../http/job-auth.ts";
import { json, pathId, refusals } from "../http/openapi.ts";
import { imageKey } from "../services/images.ts";
import { fileSize, storeFile } from "../storage/files.ts";

const tags = ["GPU worker"];
const jobId = pathId("job_id", "The job's id.");
const artifact = jobId.extend(pathId("sha256", "The SHA-256 of the file, hexadecimal.").shape);
const jobOnly = requireJob();
const byJob = { security: [{ jobToken: [] }], middleware: [jobOnly] };

const getDataSet = createRoute({
  method: "get",
  path: "/internal/jobs/{job_id}/dataset",
  operationId: "getDataSet",
  tags,
  summary: "Read the frozen feedback",
  ...byJob,
  request: { params: jobId },
  responses: {
    200: json(DataSet, "The data set; its bytes have the digest that the job names."),
    ...refusals("UNAUTHENTICATED", "DATA_SET_NOT_FOUND", "JOB_ENDED"),
  },
});

const getImage = createRoute({
  method: "get",
  path: "/internal/jobs/{job_id}/images/{sha256}",
  operationId: "getDataSetImage",
  tags,
  summary: "Read an image of the data set",
  ...byJob,
  request: { params: artifact },
  responses: {
    200: {
      description: "The image as it was received.",
      content: Object.fromEntries(
        imageMediaTypes.map((type) => [type, { schema: { type: "string" as const, format: "binary" } }]),
      ),
    },
    ...refusals("UNAUTHENTICATED", "IMAGE_NOT_FOUND", "JOB_ENDED"),
  },
});

const headArtifact = createRoute({
  method: "head",
  path: "/internal/jobs/{job_id}/artifacts/{sha256}",
  operationId: "headArtifact",
  tags,
  summary: "Is a file stored?",
  security: byJob.security,
  request: { params: artifact },
  responses: {
    200: { description: "It is." },
    401: { description: "- `UNAUTHENTICATED`: No valid key." },
    404: { description: "- `FILE_NOT_FOUND`: No such file." },
    410: { description: "- `JOB_ENDED`: The job has ended." },
  },
});

const putArtifact = createRoute({
  method: "put",
  path: "/internal/jobs/{job_id}/artifacts/{sha256}",
  operationId: "putArtifact",
  tags,
  summary: "Store a file of the new version",
  ...byJob,
  request: {
    params: artifact,
    body: {
      required: true,
      content: { "application/octet-stream": { schema: { type: "string", format: "binary" } } },
    },
  },
  responses: {
    200: json(StoredFile, "It was there already."),
    201: json(StoredFile, "It is stored."),
    ...refusals(
      "UNAUTHENTICATED",
      "INVALID_REQUEST",
      "BODY_TOO_LARGE",
      "DIGEST_MISMATCH",
      "JOB_ENDED",
      "STORE_UNAVAILABLE",
    ),
  },
});

const postCallback = createRoute({
  method: "post",
  path: "/internal/jobs/{job_id}/callbacks",
  operationId: "postCallback",
  tags,
  summary: "Tell about a job",
  description:
    "Signed as Standard Webhooks say, with the job's secret; `webhook-id` is `<job_id>-<sequence>`. A repeat is answered with 200 and changes nothing.",
  security: [{ jobToken: [] }],
  middleware: [requireJob({ evenEnded: true }), limitBody()] as MiddlewareHandler<JobEnv>[],
  request: {
    params: jobId,
    // Named, not given: the raw bytes are what is signed, so they are read before they are parsed.
    body: { content: { "application/json": { schema: { $ref: "#/components/schemas/TrainerCallback" } } } },
  },
  responses: {
    200: json(CallbackReceipt, "It is received."),
    ...refusals(
      "UNAUTHENTICATED",
      "INVALID_REQUEST",
      "INVALID_JSON",
      "JOB_ENDED",
      "BODY_TOO_LARGE",
      "SIGNATURE_INVALID",
    ),
  },
});

export const internalRoutes = new OpenAPIHono<JobEnv>();
internalRoutes.openAPIRegistry.register("TrainerCallback", TrainerCallback);

internalRoutes
  .openapi(getDataSet, async (c) => {
    const { dataSet, tenantId } = c.var.jobCaller;
    const bytes = dataSet && (await c.var.deps.env.objects.get(dataSetKey(tenantId, dataSet.sha256)));
    if (!bytes) throw new ApiError("DATA_SET_NOT_FOUND", "The feedback is not frozen yet.");
    // Typed as JSON by the contract; sent as the very bytes that the digest is of.
    return c.body(bytes.body, 200, { "content-type": "application/json" }) as never;
  })
  .openapi(getImage, async (c) => {
    const { tenantId } = c.var.jobCaller;
    const image = await c.var.deps.env.objects.get(imageKey(tenantId, c.req.valid("param").sha256));
    if (!image) throw new ApiError("IMAGE_NOT_FOUND", "There is no such image.");
    return c.body(image.body, 200, { "content-type": image.httpMetadata?.contentType ?? "application/octet-stream" });
  })
  .openapi(putArtifact, async (c) => {
    const { sha256 } = c.req.valid("param");
    const { size, created } = await storeFile(c.var.deps.env, sha256, c.req.raw);
    return c.json({ object: "file" as const, sha256, size }, created ? 201 : 200);
  })
  .openapi(postCallback, async (c) => {
    const { tenant, job } = c.var.jobCaller;
    const header = (name: string): string => c.req.header(name) ?? "";
    const headers = {
      id: header("webhook-id"),
      timestamp: header("webhook-timestamp"),
      signature: header("webhook-signature"),
    };
    const repeated = await receiveCallback(c.var.deps, { tenant, job }, headers, c.var.body);
    return c.json({ object: "callback_receipt" as const, repeated }, 200);
  });

// Hono answers HEAD through GET routes, of which this address has none.
internalRoutes.openAPIRegistry.registerPath(headArtifact);
internalRoutes.get("/internal/jobs/:job_id/artifacts/:sha256", jobOnly, async (c) => {
  const size = await fileSize(c.var.deps.env, c.req.param("sha256"));
  if (size === undefined) throw new ApiError("FILE_NOT_FOUND", "There is no such file.");
  if (c.req.method !== "HEAD") throw new ApiError("NOT_FOUND", "Files are read through their version.");
  return c.body(null, 200);
});
