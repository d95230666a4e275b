// What the GPU worker says about a job: checked, recorded once, and passed on to the Workflow.
import { TrainerCallback } from "../contract/trainer.ts";
import type { Deps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { parseInput } from "../http/problem.ts";
import { isSignedMessage, type MessageHeaders } from "../storage/signatures.ts";
import type { Tenant } from "../tenant/client.ts";
import type { JobRow } from "../tenant/jobs.ts";
import { newsEvent } from "./wake.ts";

/**
 * Takes in a signed callback; one that came before changes nothing.
 *
 * @returns Whether it had come before.
 * @throws SIGNATURE_INVALID | INVALID_JSON | INVALID_REQUEST | JOB_ENDED
 */
export async function receiveCallback(
  deps: Deps,
  { tenant, job }: { tenant: Tenant; job: JobRow },
  headers: MessageHeaders,
  body: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  if (!(await isSignedMessage(job.callbackSecret, headers, body, deps.now()))) {
    throw new ApiError("SIGNATURE_INVALID", "The callback is not signed with the job's secret, or too old.");
  }
  const callback = parseCallback(body);
  if (callback.job_id !== job.id || headers.id !== `${job.id}-${callback.sequence}`) {
    throw new ApiError("SIGNATURE_INVALID", "The callback's id is not that of its job and number.");
  }
  const { repeated, job: now } = await tenant.recordCallback(callback, deps.now());
  // Told again when a callback is repeated: the first time may have died in between.
  if (isTerminal(callback) && now.endedAt === null) {
    const instance = await deps.env.fineTune.get(job.id);
    await instance.sendEvent({ type: newsEvent, payload: { sequence: callback.sequence } });
  }
  return repeated;
}

/** Whether nothing comes after it. */
export function isTerminal({ type }: TrainerCallback): boolean {
  return type === "succeeded" || type === "rejected" || type === "failed" || type === "cancelled";
}

function parseCallback(body: Uint8Array): TrainerCallback {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body));
  } catch (error) {
    throw new ApiError("INVALID_JSON", "The body could not be parsed as JSON.", { cause: error });
  }
  return parseInput(TrainerCallback, json, "json");
}
