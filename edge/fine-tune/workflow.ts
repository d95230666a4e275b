import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep } from "cloudflare:workers";
import { drizzle } from "drizzle-orm/d1";
import { readEnv } from "../env.ts";
import { captioner } from "../isolate.ts";
import { openTenant } from "../tenant/client.ts";
import {
  checkOutcome,
  end,
  endCancelled,
  freezeFeedback,
  lookForOutcome,
  publish,
  submit,
  type Ending,
  type StepDeps,
} from "./steps.ts";
import { newsEvent } from "./wake.ts";

/** Whose job a Workflow instance runs; its id is the job's. */
export interface JobParams {
  tenantId: string;
  jobId: string;
}

/** Tried again for about ten minutes: a GPU worker that starts, a store that is away. */
const patient = {
  retries: { limit: 8, delay: "2 seconds", backoff: "exponential" },
  timeout: "5 minutes",
} as const;

// Callbacks end the wait, and the store's alarm where none comes (`wake.ts`). The wait itself must
// not time out: a run that catches that is said to hang when it ends (cloudflare/workerd#6925).
const longestSilence = "1 day";
// A Workflow has 1,024 steps; a job that is looked after for days takes fewer rounds.
const mostRounds = 200;

/** A fine-tune job: freeze, submit, wait, verify, gate, publish. Each step may run twice. */
export class FineTuneWorkflow extends WorkflowEntrypoint<Cloudflare.Env, JobParams> {
  override async run({ payload: { tenantId, jobId } }: WorkflowEvent<JobParams>, step: WorkflowStep): Promise<void> {
    const deps = this.#deps(tenantId);
    try {
      const ending = await this.#work(deps, jobId, step);
      if (ending) await run(step, "end", () => end(deps, jobId, ending));
    } catch (error) {
      // A step has given up: what it says is for the log, not for the tenant.
      console.error(JSON.stringify({ level: "error", job_id: jobId, cause: String(error) }));
      const unavailable = error instanceof Error && error.name === "TrainerUnavailable";
      const lost = unavailable
        ? failure("TRAINER_UNAVAILABLE", "The GPU worker does not answer.", "provider")
        : failure("INTERNAL", "Something failed on our side.", "platform");
      await run(step, "give up", () => end(deps, jobId, lost));
    }
  }

  async #work(deps: StepDeps, jobId: string, step: WorkflowStep): Promise<Ending | undefined> {
    const frozen = await run(step, "freeze the feedback", () => freezeFeedback(deps, jobId));
    if (!frozen.ok) return frozen.ending;
    const submitted = await run(step, "submit to the GPU worker", () => submit(deps, jobId));
    if (!submitted.ok) return submitted.ending;

    const found = await this.#wait(deps, jobId, step);
    if (found === "gone") return failure("TRAINER_TIMEOUT", "The GPU worker never ended the job.", "provider");
    if (found === "cancelled") {
      await run(step, "end as cancelled", () => endCancelled(deps, jobId));
      return undefined;
    }

    const checked = await run(step, "verify and judge", () => checkOutcome(deps, jobId));
    if (!checked.ok) return checked.ending;
    await run(step, "publish", () => publish(deps, jobId, checked.value));
    return undefined;
  }

  async #wait(deps: StepDeps, jobId: string, step: WorkflowStep): Promise<"ended" | "cancelled" | "gone"> {
    for (let round = 1; round <= mostRounds; round++) {
      const found = await run(step, `look for the outcome, ${round}`, () =>
        lookForOutcome(deps, jobId, { asksTrainer: round > 1 }),
      );
      if (found !== "waiting") return found;
      try {
        letGo(await step.waitForEvent(`wait for news, ${round}`, { type: newsEvent, timeout: longestSilence }));
      } catch {
        return "gone";
      }
    }
    return "gone";
  }

  #deps(tenantId: string): StepDeps {
    const env = readEnv(this.env);
    return {
      env,
      directory: drizzle(env.directory),
      captioner,
      tenantId,
      tenant: openTenant(env.tenants, tenantId),
      fetch: (...request) => fetch(...request),
      now: () => new Date(),
    };
  }
}

/** Runs a step, as often as `patient` says. */
async function run<T extends Rpc.Serializable<T>>(
  step: WorkflowStep,
  name: string,
  work: () => Promise<T>,
): Promise<T> {
  const result = await step.do(name, patient, work);
  const value = structuredClone(result) as T;
  letGo(result);
  return value;
}

/**
 * Disposes what came by RPC, as every step's result does. workerd warns of a result that it finds
 * undisposed while it collects garbage; with an inspector attached, as wrangler's always is, the
 * warning takes memory, and where that needs a collection of its own the whole process goes down.
 */
function letGo(result: unknown): void {
  (result as Partial<Disposable> | null | undefined)?.[Symbol.dispose]?.();
}

function failure(code: string, message: string, fault: Ending["reason"]["fault"]): Ending {
  return { status: "failed", reason: { code, message, retryable: true, fault, help: [] }, reportSha256: null };
}
