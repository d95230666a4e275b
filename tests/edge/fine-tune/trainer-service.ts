// A GPU worker's HTTP side as the tests' Worker sees it; runs in Node. It trains nothing: suites
// take a job from it and play its part, so that callbacks can be late, doubled or missing.
import type { TrainerCallback, TrainerJob, TrainerJobRequest } from "../../../edge/contract/trainer.ts";

interface Known {
  request: TrainerJobRequest;
  authorization: string | null;
  terminal: TrainerCallback | null;
  submissions: number;
  cancelled: boolean;
}

const jobs = new Map<string, Known>();

/** Seeds of jobs that this GPU worker treats in a special way. */
export const seedRefused = 400;
export const seedMalformed = 200;

/** Answers the trainer contract, and /suite/{job} for the suites themselves. */
export async function trainer(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const [, side, , id = ""] = /^\/(v1|suite)\/(jobs)\/?([^/]*)$/.exec(pathname) ?? [];
  if (side === "suite") return suite(request, id);
  if (side !== "v1") return new Response("", { status: 404 });
  if (request.method === "POST") return submit(request);
  const known = jobs.get(id);
  if (!known) return Response.json({ code: "JOB_NOT_FOUND" }, { status: 404 });
  if (request.method === "DELETE") known.cancelled = true;
  return Response.json(describe(known), { status: request.method === "DELETE" ? 202 : 200 });
}

async function submit(request: Request): Promise<Response> {
  const body = (await request.json()) as TrainerJobRequest;
  if (body.seed === seedRefused) return Response.json({ code: "INVALID_REQUEST" }, { status: 400 });
  if (body.seed === seedMalformed) return new Response("<html>a proxy's page</html>");
  const known = jobs.get(body.job_id);
  if (known && JSON.stringify(known.request) !== JSON.stringify(body)) return Response.json({}, { status: 409 });
  const job = known ?? {
    request: body,
    authorization: request.headers.get("authorization"),
    terminal: null,
    submissions: 0,
    cancelled: false,
  };
  job.submissions += 1;
  jobs.set(body.job_id, job);
  return Response.json(describe(job), { status: 202 });
}

/** GET reads what was submitted, PUT sets the terminal message, DELETE forgets the job. */
async function suite(request: Request, id: string): Promise<Response> {
  const known = jobs.get(id);
  if (!known) return new Response("", { status: 404 });
  if (request.method === "PUT") known.terminal = (await request.json()) as TrainerCallback;
  if (request.method === "DELETE") jobs.delete(id);
  return Response.json(known);
}

function describe({ request, terminal, cancelled }: Known): TrainerJob {
  return {
    object: "trainer_job",
    id: request.job_id,
    state: terminal?.type === "succeeded" ? "succeeded" : cancelled ? "cancelling" : "queued",
    last_sequence: terminal?.sequence ?? 0,
    created_at: "2026-01-01T00:00:00Z",
    terminal,
  };
}
