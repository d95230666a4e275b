import type { ProblemItem } from "../contract/shapes.ts";

/** Every refusal there is: its status, its title, and whether trying again may help. */
export const problems = {
  INVALID_REQUEST: { status: 400, title: "The request is not valid", retryable: false },
  INVALID_JSON: { status: 400, title: "The body is not JSON", retryable: false },
  IDEMPOTENCY_KEY_REQUIRED: { status: 400, title: "This operation needs an Idempotency-Key", retryable: false },
  UNAUTHENTICATED: { status: 401, title: "No valid key", retryable: false },
  SCOPE_MISSING: { status: 403, title: "The key may not do this", retryable: false },
  NOT_FOUND: { status: 404, title: "There is nothing at this address", retryable: false },
  TENANT_NOT_FOUND: { status: 404, title: "No such tenant", retryable: false },
  KEY_NOT_FOUND: { status: 404, title: "No such key", retryable: false },
  CAPTION_NOT_FOUND: { status: 404, title: "No such caption", retryable: false },
  IMAGE_NOT_FOUND: { status: 404, title: "No such image", retryable: false },
  JOB_NOT_FOUND: { status: 404, title: "No such job", retryable: false },
  REPORT_NOT_READY: { status: 404, title: "The job has no learning report (yet)", retryable: true },
  DATA_SET_NOT_FOUND: { status: 404, title: "No such data set", retryable: false },
  MODEL_NOT_FOUND: { status: 404, title: "No such model, alias or version", retryable: false },
  FILE_NOT_FOUND: { status: 404, title: "No such file", retryable: false },
  IDEMPOTENCY_IN_FLIGHT: { status: 409, title: "The first request with this key is still at work", retryable: true },
  JOB_CONFLICT: { status: 409, title: "The job is not in a state for this", retryable: false },
  ALIAS_CONFLICT: { status: 409, title: "The alias cannot move there", retryable: false },
  VERSION_NOT_PROMOTABLE: { status: 409, title: "The version did not pass the gate", retryable: false },
  JOB_ENDED: { status: 410, title: "The job has ended", retryable: false },
  PRECONDITION_FAILED: { status: 412, title: "It has changed since it was read", retryable: false },
  BODY_TOO_LARGE: { status: 413, title: "The body is too large", retryable: false },
  IMAGE_TOO_LARGE: { status: 413, title: "The image is too large", retryable: false },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, title: "This operation does not read that content type", retryable: false },
  IMAGE_TYPE_UNSUPPORTED: { status: 415, title: "The image is neither JPEG, PNG nor WebP", retryable: false },
  IDEMPOTENCY_KEY_REUSED: { status: 422, title: "The Idempotency-Key belongs to another request", retryable: false },
  IMAGE_TOO_MANY_PIXELS: { status: 422, title: "The image has too many pixels", retryable: false },
  IMAGE_UNREADABLE: { status: 422, title: "The image cannot be read", retryable: false },
  IMAGE_URL_REFUSED: { status: 422, title: "Images are fetched from public https addresses only", retryable: false },
  IMAGE_URL_UNREACHABLE: { status: 422, title: "The image could not be fetched", retryable: true },
  DIGEST_MISMATCH: { status: 422, title: "The bytes do not have that digest", retryable: false },
  MANIFEST_INVALID: { status: 422, title: "The manifest is not valid", retryable: false },
  SIGNATURE_INVALID: { status: 422, title: "The signature does not verify", retryable: false },
  FILES_MISSING: { status: 422, title: "Files of the manifest are not stored", retryable: true },
  FEEDBACK_INSUFFICIENT: { status: 422, title: "There is not enough feedback to learn from", retryable: false },
  PRECONDITION_REQUIRED: { status: 428, title: "This operation needs an If-Match header", retryable: false },
  INTERNAL: { status: 500, title: "Something failed on our side", retryable: true },
  MODEL_UNAVAILABLE: { status: 503, title: "The version cannot be served here", retryable: true },
  STORE_UNAVAILABLE: { status: 503, title: "A store does not answer", retryable: true },
} as const;

export type ProblemCode = keyof typeof problems;
export type ProblemStatus = (typeof problems)[ProblemCode]["status"];

/** A refusal on its way to the caller; `detail` is written for him, `cause` for the log. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ProblemCode;
  readonly detail: string;
  readonly errors: readonly ProblemItem[];
  /** Seconds after which to try again. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ProblemCode,
    detail: string,
    options: { errors?: readonly ProblemItem[]; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(`${code}: ${detail}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = detail;
    this.errors = options.errors ?? [];
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}
