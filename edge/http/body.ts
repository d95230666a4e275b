import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./context.ts";
import { ApiError } from "./errors.ts";

/** What a JSON request may weigh. */
export const maxJsonBytes = 1_000_000;

/**
 * Reads the body into `c.var.body`, never more than `maxBytes` of it; the handler finds it unread.
 *
 * @throws BODY_TOO_LARGE
 */
export function limitBody(maxBytes: number = maxJsonBytes): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const request = c.req.raw;
    const body = request.body
      ? await readAtMost(request.body, maxBytes, request.headers.get("content-length"))
      : new Uint8Array();
    if (!body) {
      throw new ApiError("BODY_TOO_LARGE", `The body may have at most ${maxBytes} bytes.`);
    }
    c.set("body", body);
    if (request.body) c.req.raw = new Request(request, { method: request.method, body });
    await next();
  };
}

/** Reads a stream to its end, or gives up once it is longer than `maxBytes`; then undefined. */
export async function readAtMost(
  stream: ReadableStream<Uint8Array>,
  maxBytes: number,
  declaredLength: string | null,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  if (Number(declaredLength ?? 0) > maxBytes) {
    await stream.cancel();
    return undefined;
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.byteLength;
    if (length > maxBytes) return undefined;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}
