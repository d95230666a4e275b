import { ApiError, type ProblemCode } from "../http/errors.ts";

/** What a tenant store answers: errors lose their class on the way between isolates, values do not. */
export type Result<T> = { ok: true; value: T } | { ok: false; code: ProblemCode; detail: string };

/** Runs a query and catches its refusal; anything else is a defect and is thrown on. */
export async function settle<T>(query: () => T | Promise<T>): Promise<Result<T>> {
  try {
    return { ok: true, value: await query() };
  } catch (error) {
    if (error instanceof ApiError) return { ok: false, code: error.code, detail: error.detail };
    throw error;
  }
}

/**
 * The value, on the caller's side.
 *
 * @throws ApiError with the store's code.
 */
export function unwrap<T>(result: Result<T>): T {
  if (result.ok) return result.value;
  throw new ApiError(result.code, result.detail);
}
