// What the fine-tune suites share: rated images, a job, and the GPU worker's part of the talk.
import { env } from "cloudflare:workers";
import { expect, vi } from "vitest";
import { sha256Hex } from "../../../captioner/digest.ts";
import type { Manifest } from "../../../captioner/manifest.ts";
import type { Job } from "../../../edge/contract/jobs.ts";
import type { Evaluation, SucceededData, TrainerCallback, TrainerJobRequest } from "../../../edge/contract/trainer.ts";
import { ask, call, probe, versionFile, type TestTenant } from "../harness.ts";

/** The probe image with a comment inside: another file with the same pixels. */
export function variant(number: number): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(`tEXtComment\0${number}`);
  const chunk = new Uint8Array(text.length + 8);
  const view = new DataView(chunk.buffer);
  view.setUint32(0, text.length - 4);
  chunk.set(text, 4);
  view.setUint32(text.length + 4, crc32(text));
  const afterHeader = 33;
  return Uint8Array.from([...probe.subarray(0, afterHeader), ...chunk, ...probe.subarray(afterHeader)]);
}

function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Captions `count` images and rates them, every third one up; gives the captions' ids. */
export async function rateImages(key: string, count: number): Promise<string[]> {
  const ids = [];
  for (let number = 0; number < count; number++) {
    const body = variant(number);
    const caption = await ask<{ id: string }>(201, "POST", "/v1/captions", {
      key,
      body,
      headers: { "content-type": "image/png" },
    });
    ids.push(caption.id);
    const json = { rating: number % 3 === 0 ? "up" : "down", ...(number === 1 && { correction: "a red dog" }) };
    await ask(201, "POST", `/v1/captions/${caption.id}/feedback`, { key, json });
  }
  return ids;
}

let keys = 0;

export async function startJob(key: string, request: Record<string, unknown> = {}): Promise<Job> {
  const headers = { "idempotency-key": `job-${++keys}` };
  return ask<Job>(201, "POST", "/v1/fine_tuning/jobs", { key, json: request, headers });
}

export function readJob(key: string, id: string): Promise<Job> {
  return ask<Job>(200, "GET", `/v1/fine_tuning/jobs/${id}`, { key });
}

/** Waits until the job is in one of the states. */
export async function reach(key: string, id: string, ...states: Job["status"][]): Promise<Job> {
  return vi.waitFor(
    async () => {
      const job = await readJob(key, id);
      expect(states, JSON.stringify(job.status_reason)).toContain(job.status);
      return job;
    },
    { timeout: 45_000, interval: 50 },
  );
}

interface Submitted {
  request: TrainerJobRequest;
  authorization: string;
  submissions: number;
  cancelled: boolean;
}

const suiteUrl = (id: string): string => `${env.TRAINER_URL}/suite/jobs/${id}`;

/** What the GPU worker was given; waits for it. */
export async function submitted(id: string): Promise<Submitted> {
  return vi.waitFor(
    async () => {
      const response = await fetch(suiteUrl(id));
      expect(response.status).toBe(200);
      return response.json<Submitted>();
    },
    { timeout: 45_000, interval: 50 },
  );
}

/** Lets the GPU worker answer with this as the job's last word. */
export async function answerWith(id: string, terminal: TrainerCallback): Promise<void> {
  await fetch(suiteUrl(id), { method: "PUT", body: JSON.stringify(terminal) });
}

/** Lets the GPU worker lose the job. */
export async function forget(id: string): Promise<void> {
  await fetch(suiteUrl(id), { method: "DELETE" });
}

export function message(
  request: TrainerJobRequest,
  sequence: number,
  { type, data }: Pick<TrainerCallback, "type" | "data">,
): TrainerCallback {
  const created_at = "2026-01-01T00:00:00Z";
  return { job_id: request.job_id, sequence, created_at, type, data } as TrainerCallback;
}

/** The path of an address that the job was given. */
export const pathOf = (url: string): string => new URL(url).pathname;

export interface Forgery {
  secret?: string;
  timestamp?: number;
  id?: string;
}

/** Signs a callback and sends it as the GPU worker does; what is forged may be said. */
export async function tell(request: TrainerJobRequest, callback: unknown, forged: Forgery = {}): Promise<Response> {
  const body = typeof callback === "string" ? callback : JSON.stringify(callback);
  const { job_id, sequence } = callback as TrainerCallback;
  const id = forged.id ?? `${job_id}-${sequence}`;
  const timestamp = String(forged.timestamp ?? Math.floor(Date.now() / 1000));
  const encode = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(new TextEncoder().encode(text));
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const secret = encode(forged.secret ?? request.callback_secret);
  const key = await crypto.subtle.importKey("raw", secret, algorithm, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", key, encode(`${id}.${timestamp}.${body}`));
  return call("POST", pathOf(request.callback_url), {
    key: request.job_token,
    body,
    headers: {
      "content-type": "application/json",
      "webhook-id": id,
      "webhook-timestamp": timestamp,
      "webhook-signature": `v1,${new Uint8Array(signature).toBase64()}`,
    },
  });
}

/** An evaluation that passes the gate. */
export const good: Evaluation = {
  examples: { train: 190, held_out: 50, images: 240, held_out_images: 50 },
  log_ratio: -0.4,
  predicted_approval: { before: 0.3, after: 0.6 },
  evaluator_score: { before: 0.8, after: 0.81 },
  repetition: { before: 0.1, after: 0.1 },
  mean_length: { before: 9, after: 7 },
  liked_length: 10,
  distinct: { before: 1, after: 1 },
  ends_on_function_word: { before: 0, after: 0 },
  approval_gain: { low: 0.1, high: 0.5 },
  kl: 3,
  preference_auc: 0.9,
  held_out_thumbs_auc: 0.8,
  end_users: [{ end_user: "ann", thumbs: 20, agreement: 0.9, weight: 1 }],
  blind_spots: [{ error: "relation", right: 0.7 }],
  warnings: [],
};

export interface MadeVersion {
  manifest: Manifest;
  sha256: string;
  versionId: string;
  done: SucceededData;
}

/** Makes a signed version for the job out of the second test version, and uploads its files. */
export async function makeVersion(
  request: TrainerJobRequest,
  evaluation: Evaluation = good,
  change: (manifest: Manifest) => void = () => undefined,
): Promise<MadeVersion> {
  const files = env.TEST_VERSION_2;
  const manifest = JSON.parse(new TextDecoder().decode(versionFile(files, "manifest.json"))) as Manifest;
  manifest.lineage = {
    base_manifest_sha256: request.base_manifest_sha256,
    parent: request.parent_manifest_sha256,
    job_id: request.job_id,
    dataset_sha256: request.dataset.sha256,
  };
  change(manifest);
  const bytes = new Uint8Array(new TextEncoder().encode(JSON.stringify(manifest)));
  const sha256 = await sha256Hex(bytes);
  const uploads = manifest.files.map(({ path, sha256: digest }) => [digest, versionFile(files, path)] as const);
  for (const [digest, body] of [...uploads, [sha256, bytes] as const]) {
    const path = `${pathOf(request.artifacts_url)}/${digest}`;
    const response = await call("PUT", path, { key: request.job_token, body });
    expect([200, 201], await response.text()).toContain(response.status);
  }
  const signature = await sign(bytes);
  const done = { manifest_sha256: sha256, files: manifest.files, signature, evaluation, report: null };
  return { manifest, sha256, versionId: `ver_${sha256.slice(0, 24)}`, done };
}

/** Ed25519 with the tests' key, base64. */
export async function sign(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const head = Uint8Array.fromHex("302e020100300506032b657004220420");
  const seed = Uint8Array.fromBase64(env.TEST_SIGNING_SEED);
  const key = await crypto.subtle.importKey("pkcs8", Uint8Array.from([...head, ...seed]), "Ed25519", false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("Ed25519", key, bytes)).toBase64();
}

/** Runs a whole job of a tenant with enough feedback; gives the job as it ended. */
export async function runJob(
  { key }: TestTenant,
  options: Record<string, unknown> = {},
  evaluation: Evaluation = good,
): Promise<{ job: Job; request: TrainerJobRequest; made: MadeVersion }> {
  const { id } = await startJob(key, options);
  const { request } = await submitted(id);
  const made = await makeVersion(request, evaluation);
  const answer = await tell(request, message(request, 1, { type: "succeeded", data: made.done }));
  expect(answer.status).toBe(200);
  return { job: await reach(key, id, "succeeded", "rejected", "failed"), request, made };
}
