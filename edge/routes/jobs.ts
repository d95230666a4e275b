import { OpenAPIHono, createRoute } from "@hono/zod-openapi";
import { accepts } from "hono/accepts";
import { z } from "zod";
import { Job, JobEventList, JobEventQuery, JobList, JobListQuery, JobRequest } from "../contract/jobs.ts";
import { JobReport, JobReportQuery } from "../contract/report.ts";
import { limitBody } from "../http/body.ts";
import type { TenantEnv } from "../http/context.ts";
import { IdempotencyHeaders, idempotent } from "../http/idempotency.ts";
import { authRefusals, json, jsonBody, jsonRefusals, pathId, refusals, secured } from "../http/openapi.ts";
import { listBody, pageRequestOf } from "../http/pages.ts";
import { reportPage, reportPolicy } from "../pages/report.ts";
import { cancelJob, eventFromRow, jobFromRecord, startJob } from "../services/jobs.ts";
import { readReport } from "../services/reports.ts";

const tags = ["Fine-tuning"];
const jobId = pathId("job_id", "The job's id.");

const createJob = createRoute({
  method: "post",
  path: "/v1/fine_tuning/jobs",
  operationId: "createFineTuningJob",
  tags,
  summary: "Learn from feedback",
  description:
    "Freezes the feedback, trains a new version from the base (with DiCO unless `method` says otherwise), judges it on held-out images and publishes it. Needs at least 20 rated images with 3 thumbs up and 3 down.",
  ...secured("jobs:write", limitBody(), idempotent({ required: true })),
  request: { headers: IdempotencyHeaders, body: jsonBody(JobRequest) },
  responses: {
    201: json(Job, "The job, which runs on its own from here."),
    ...refusals(
      ...authRefusals,
      ...jsonRefusals,
      "IDEMPOTENCY_KEY_REQUIRED",
      "MODEL_NOT_FOUND",
      "IDEMPOTENCY_IN_FLIGHT",
      "IDEMPOTENCY_KEY_REUSED",
      "FEEDBACK_INSUFFICIENT",
    ),
  },
});

const listJobs = createRoute({
  method: "get",
  path: "/v1/fine_tuning/jobs",
  operationId: "listFineTuningJobs",
  tags,
  summary: "List jobs",
  ...secured("jobs:write"),
  request: { query: JobListQuery },
  responses: { 200: json(JobList, "One page."), ...refusals(...authRefusals, "INVALID_REQUEST") },
});

const getJob = createRoute({
  method: "get",
  path: "/v1/fine_tuning/jobs/{job_id}",
  operationId: "getFineTuningJob",
  tags,
  summary: "Read a job",
  ...secured("jobs:write"),
  request: { params: jobId },
  responses: { 200: json(Job, "The job."), ...refusals(...authRefusals, "JOB_NOT_FOUND") },
});

const listEvents = createRoute({
  method: "get",
  path: "/v1/fine_tuning/jobs/{job_id}/events",
  operationId: "listFineTuningEvents",
  tags,
  summary: "List a job's events, oldest first",
  ...secured("jobs:write"),
  request: { params: jobId, query: JobEventQuery },
  responses: { 200: json(JobEventList, "One page."), ...refusals(...authRefusals, "INVALID_REQUEST", "JOB_NOT_FOUND") },
});

const getReport = createRoute({
  method: "get",
  path: "/v1/fine_tuning/jobs/{job_id}/report",
  operationId: "getFineTuningReport",
  tags,
  summary: "Read what a job learnt",
  description:
    "Pictures with captions before and after, curves, counts, the gate's checks. As JSON, or as a page with `Accept: text/html` or `?format=html`. It holds thumbnails of your pictures and your viewers' words, and is stored with your tenant's data.",
  ...secured("jobs:write"),
  request: { params: jobId, query: JobReportQuery },
  responses: {
    200: {
      description: "The report, once the job has ended with one.",
      content: { "application/json": { schema: JobReport }, "text/html": { schema: z.string() } },
    },
    ...refusals(...authRefusals, "INVALID_REQUEST", "JOB_NOT_FOUND", "REPORT_NOT_READY"),
  },
});

const cancel = createRoute({
  method: "post",
  path: "/v1/fine_tuning/jobs/{job_id}/cancel",
  operationId: "cancelFineTuningJob",
  tags,
  summary: "Stop a job",
  description: "Until its version is being verified. Asking again changes nothing.",
  ...secured("jobs:write"),
  request: { params: jobId },
  responses: {
    200: json(Job, "The job: `cancelling`, soon `cancelled`."),
    ...refusals(...authRefusals, "JOB_NOT_FOUND", "JOB_CONFLICT"),
  },
});

export const jobRoutes = new OpenAPIHono<TenantEnv>()
  .openapi(createJob, async (c) => c.json(await startJob(c.var.tenantDeps, c.var.caller, c.req.valid("json")), 201))
  .openapi(listJobs, async (c) => {
    const query = c.req.valid("query");
    const page = await c.var.tenantDeps.tenant.listJobs({ ...pageRequestOf(query), status: query.status });
    return c.json(listBody(page, jobFromRecord), 200);
  })
  .openapi(getJob, async (c) => {
    const record = await c.var.tenantDeps.tenant.getJob(c.req.valid("param").job_id);
    return c.json(jobFromRecord(record), 200);
  })
  .openapi(listEvents, async (c) => {
    const { limit, cursor } = c.req.valid("query");
    const { job_id } = c.req.valid("param");
    const { rows, hasMore } = await c.var.tenantDeps.tenant.listEvents({
      jobId: job_id,
      limit,
      after: Number(cursor ?? 0),
    });
    const last = rows.at(-1);
    return c.json(
      {
        object: "list" as const,
        data: rows.map(eventFromRow),
        has_more: hasMore,
        next_cursor: hasMore && last ? String(last.sequence) : null,
      },
      200,
    );
  })
  .openapi(getReport, async (c) => {
    const report = await readReport(c.var.tenantDeps, c.req.valid("param").job_id);
    const supports = ["application/json", "text/html"];
    const accepted = accepts(c, { header: "Accept", supports, default: "application/json" });
    const format = c.req.valid("query").format ?? (accepted === "text/html" ? "html" : "json");
    const headers = { vary: "Accept", "cache-control": "private, no-store" };
    if (format === "json") return c.json(report, 200, headers);
    return c.html(reportPage(report), 200, { ...headers, "content-security-policy": reportPolicy });
  })
  .openapi(cancel, async (c) => c.json(await cancelJob(c.var.tenantDeps, c.req.valid("param").job_id), 200));
