// The edge's side of the GPU worker's HTTP contract.
import type { Env } from "../env.ts";
import { TrainerJob, type TrainerJobRequest } from "../contract/trainer.ts";

/** The GPU worker did not answer, or not as the contract says; trying again may help. */
export class TrainerUnavailable extends Error {
  override readonly name = "TrainerUnavailable";
}

/** The GPU worker refused the request; the same one will be refused again. */
export class TrainerRefusal extends Error {
  override readonly name = "TrainerRefusal";
}

const timeoutMilliseconds = 30_000;

export interface TrainerClient {
  /** Hands a job over; the same job again is the same job. @throws TrainerUnavailable | TrainerRefusal */
  submit(request: TrainerJobRequest): Promise<TrainerJob>;
  /** How a job stands; undefined where the GPU worker does not know it. @throws TrainerUnavailable */
  find(jobId: string): Promise<TrainerJob | undefined>;
  /** Stops a job; undefined where the GPU worker does not know it. @throws TrainerUnavailable */
  cancel(jobId: string): Promise<TrainerJob | undefined>;
}

export function createTrainerClient(
  { trainerUrl, trainerToken }: Pick<Env, "trainerUrl" | "trainerToken">,
  doFetch: typeof fetch,
): TrainerClient {
  const send = async (method: string, path: string, body?: unknown): Promise<TrainerJob | undefined> => {
    let response: Response;
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), timeoutMilliseconds);
    try {
      response = await doFetch(trainerUrl + path, {
        method,
        // A redirect would carry the token somewhere else.
        redirect: "manual",
        headers: {
          authorization: `Bearer ${trainerToken}`,
          ...(body !== undefined && { "content-type": "application/json" }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
        signal: controller.signal,
      });
    } catch (error) {
      throw new TrainerUnavailable("The GPU worker could not be reached.", { cause: error });
    } finally {
      clearTimeout(timer);
    }
    if (response.status === 404 && method !== "POST") {
      await response.body?.cancel();
      return undefined;
    }
    if (response.status >= 400 && response.status < 500 && ![401, 408, 425, 429].includes(response.status)) {
      throw new TrainerRefusal(`The GPU worker refused the job (${response.status}).`, {
        cause: await response.text(),
      });
    }
    const parsed = response.ok ? TrainerJob.safeParse(await response.json().catch(() => undefined)) : undefined;
    if (!parsed?.success) throw new TrainerUnavailable(`The GPU worker answered ${response.status} without a job.`);
    return parsed.data;
  };
  return {
    submit: async (request) => {
      const job = await send("POST", "/v1/jobs", request);
      if (!job) throw new TrainerUnavailable("The GPU worker answered without a job.");
      return job;
    },
    find: (jobId) => send("GET", `/v1/jobs/${jobId}`),
    cancel: (jobId) => send("DELETE", `/v1/jobs/${jobId}`),
  };
}
