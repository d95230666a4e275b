import type { Context, ErrorHandler, NotFoundHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";
import { CaptionerError } from "../../captioner/errors.ts";
import type { Problem } from "../contract/shapes.ts";
import type { AppEnv } from "./context.ts";
import { ApiError, problems, type ProblemCode } from "./errors.ts";
import { itemsOf } from "./validation.ts";

/** Answers a refusal in the one shape that errors have. */
export function problemResponse(c: Context, error: ApiError): Response {
  const { status, title, retryable } = problems[error.code];
  const problem: Problem = {
    type: `urn:captions-that-learn:problem:${error.code}`,
    title,
    status,
    detail: error.detail,
    code: error.code,
    request_id: String(c.get("requestId")),
    retryable,
    errors: [...error.errors],
  };
  const headers: Record<string, string> = { "content-type": "application/problem+json" };
  if (status === 401) headers["www-authenticate"] = 'Bearer realm="captions-that-learn"';
  if (error.retryAfterSeconds !== undefined) headers["retry-after"] = String(error.retryAfterSeconds);
  return c.body(JSON.stringify(problem), status as ContentfulStatusCode, headers);
}

/** Refuses what a schema refused, with a pointer to each fault. */
export function refuseInvalid(
  result: { target: string } & ({ success: true } | { success: false; error: z.ZodError }),
): void {
  if (!result.success) throw invalid(result.error, result.target);
}

/**
 * Parses a part of the request that no route's schema has parsed.
 *
 * @throws INVALID_REQUEST
 */
export function parseInput<T>(schema: z.ZodType<T>, input: unknown, target: string): T {
  const result = schema.safeParse(input);
  if (!result.success) throw invalid(result.error, target);
  return result.data;
}

function invalid(error: z.ZodError, target: string): ApiError {
  const errors = itemsOf(error, target);
  return new ApiError("INVALID_REQUEST", errors[0]?.detail ?? "The request is not valid.", { errors });
}

/** Turns whatever was thrown into a problem; what is unexpected is logged and answered with a fixed text. */
export const answerError: ErrorHandler<AppEnv> = (thrown, c) => {
  const error = toApiError(thrown);
  if (problems[error.code].status >= 500) {
    console.error(
      JSON.stringify({
        level: "error",
        request_id: c.get("requestId"),
        operation: `${c.req.method} ${c.req.path}`,
        code: error.code,
        detail: error.detail,
        cause: describe(error.cause ?? thrown),
      }),
    );
  }
  return problemResponse(c, error);
};

export const answerNotFound: NotFoundHandler<AppEnv> = (c) =>
  problemResponse(c, new ApiError("NOT_FOUND", "Nothing is served at this address; see /docs."));

function toApiError(thrown: unknown): ApiError {
  if (thrown instanceof ApiError) return thrown;
  if (thrown instanceof CaptionerError) return fromCaptioner(thrown);
  if (thrown instanceof HTTPException) return fromHono(thrown);
  return new ApiError("INTERNAL", "The request could not be served; the failure is logged.", { cause: thrown });
}

function fromCaptioner(error: CaptionerError): ApiError {
  const cause = { cause: error.cause ?? error };
  switch (error.code) {
    case "IMAGE_TYPE_UNSUPPORTED":
    case "IMAGE_TOO_LARGE":
    case "IMAGE_TOO_MANY_PIXELS":
    case "IMAGE_UNREADABLE":
      return new ApiError(error.code, sentence(error.message), cause);
    case "MODEL_FILE_MISMATCH":
    case "MODEL_INVALID":
    case "MODEL_TOO_LARGE":
      return new ApiError("MODEL_UNAVAILABLE", `This version cannot be served: ${error.message}.`, cause);
  }
}

function fromHono(error: HTTPException): ApiError {
  const known: Partial<Record<number, [ProblemCode, string]>> = {
    400: ["INVALID_JSON", "The body could not be parsed as its content type says."],
    415: ["UNSUPPORTED_MEDIA_TYPE", "Send one of the content types that /docs lists for this operation."],
  };
  const [code, detail] = known[error.status] ?? ["INTERNAL", "The request could not be served."];
  return new ApiError(code, detail, { cause: error });
}

function sentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}

function describe(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
