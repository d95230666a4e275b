// The demonstration's view of the service: HTTP and nothing else.
import { setTimeout as wait } from "node:timers/promises";

export interface Caption {
  id: string;
  caption: string;
  version: string;
}

export interface Job {
  id: string;
  status: string;
  status_reason?: { code: string; message: string; help: string[] } | null;
  progress?: { phase: string; step: number; total_steps: number } | null;
  version?: string | null;
  evaluation?: Record<string, unknown> | null;
  gate?: { checks: GateCheck[] } | null;
  report_url?: string | null;
}

export interface GateCheck {
  name: string;
  figure: number;
  limit: string;
  passed: boolean;
  sentence: string;
}

/** An answer that is not the one expected; the message is the problem's own text. */
export class ServiceError extends Error {}

const mostAttempts = 6;

/** Calls the service with one key; waits out 429, 503 and a restart of the runtime. */
export class Client {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  /**
   * Sends a request again when the service asks for it, or when no answer of the service came: all
   * that the demonstration asks for may happen twice.
   *
   * @throws ServiceError for every answer that is not 2xx.
   */
  async call<T>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<T> {
    const raw = body instanceof Uint8Array;
    const request = {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined || raw ? {} : { "content-type": "application/json" }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: raw ? new Uint8Array(body) : JSON.stringify(body) }),
    };
    for (let attempt = 1; ; attempt++) {
      const last = attempt === mostAttempts;
      const response = await fetch(this.#url + path, request).catch((cause: unknown) => {
        if (last) throw new ServiceError(`${method} ${path}: ${String(cause)}`, { cause });
        return undefined;
      });
      if (response?.ok) return (await response.json()) as T;
      if (response && (last || !isTransient(response))) {
        const text = await response.text();
        throw new ServiceError(`${method} ${path}: ${response.status} ${text.slice(0, 400)}`);
      }
      await response?.body?.cancel();
      await wait(1000 * Number(response?.headers.get("retry-after") ?? attempt));
    }
  }

  /** @param drawnWith Seed of a caption drawn from what the version might say; without one, the best. */
  caption(jpeg: Uint8Array, drawnWith?: number): Promise<Caption> {
    const query = drawnWith === undefined ? "" : `?temperature=1&seed=${drawnWith}`;
    return this.call("POST", `/v1/captions${query}`, jpeg, { "content-type": "image/jpeg" });
  }

  rate(captionId: string, rating: "up" | "down"): Promise<unknown> {
    return this.call("POST", `/v1/captions/${captionId}/feedback`, { rating, end_user: "simulated-viewer" });
  }

  startJob(seed: number, idempotencyKey: string): Promise<Job> {
    const request = { model: "scenes", method: { type: "dico" }, promote: "auto", seed };
    return this.call("POST", "/v1/fine_tuning/jobs", request, { "idempotency-key": idempotencyKey });
  }

  job(id: string): Promise<Job> {
    return this.call("GET", `/v1/fine_tuning/jobs/${id}`);
  }
}

/** Too busy, or lost on the way: the service itself says what it failed at as a problem. */
function isTransient({ status, headers }: Response): boolean {
  if (status === 429 || status === 503) return true;
  return status >= 500 && !headers.get("content-type")?.startsWith("application/problem+json");
}
