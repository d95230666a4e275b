import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import { sha256Hex } from "../../captioner/digest.ts";
import type { TenantEnv } from "./context.ts";
import { ApiError } from "./errors.ts";

/** Of an operation: the header that makes a second try safe. */
export const IdempotencyHeaders = z.object({
  "idempotency-key": z.string().optional().meta({
    description:
      "1 to 255 visible characters of your choice. For 24 hours the same key with the same body gets the first answer again.",
  }),
});

const wellFormed = /^[\x21-\x7e]{1,255}$/;

/**
 * Answers a repeated request with its first answer, for 24 hours; stands behind `limitBody`.
 * Answers of 500 and above are not kept, so that trying again may help.
 *
 * @throws IDEMPOTENCY_KEY_REQUIRED | INVALID_REQUEST | IDEMPOTENCY_KEY_REUSED | IDEMPOTENCY_IN_FLIGHT
 */
export function idempotent({ required = false } = {}): MiddlewareHandler<TenantEnv> {
  return async (c, next) => {
    const key = c.req.header("idempotency-key");
    if (key === undefined) {
      if (!required) return next();
      throw new ApiError("IDEMPOTENCY_KEY_REQUIRED", "Send an Idempotency-Key: this operation starts work.");
    }
    if (!wellFormed.test(key)) throw malformedKey();
    const { tenantDeps } = c.var;
    const { tenant } = tenantDeps;
    const operation = `${c.req.method} ${c.req.path}`;
    // The query belongs to the request as much as its body.
    const query = new TextEncoder().encode(`${new URL(c.req.url).search}\n`);
    const bodySha256 = await sha256Hex(await new Blob([query, c.var.body]).arrayBuffer());
    const first = await tenant.beginIdempotent({ operation, key, bodySha256, now: tenantDeps.now() });
    switch (first.state) {
      case "reused":
        throw new ApiError("IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key came with another body before.");
      case "in_flight":
        throw new ApiError("IDEMPOTENCY_IN_FLIGHT", "The first request with this key has not ended.", {
          retryAfterSeconds: 1,
        });
      case "ended":
        return new Response(first.body, {
          status: first.status,
          headers: { "content-type": first.contentType, "idempotent-replayed": "true" },
        });
      case "new":
    }
    await next();
    if (c.res.status >= 500) {
      await tenant.forgetIdempotent({ operation, key });
    } else {
      await tenant.endIdempotent({
        operation,
        key,
        status: c.res.status,
        body: await c.res.clone().text(),
        contentType: c.res.headers.get("content-type") ?? "application/json",
      });
    }
    return undefined;
  };
}

function malformedKey(): ApiError {
  return new ApiError("INVALID_REQUEST", "The Idempotency-Key is malformed.", {
    errors: [
      {
        pointer: "header/idempotency-key",
        code: "invalid_format",
        detail: "The Idempotency-Key is malformed.",
        fix: "Send 1 to 255 visible ASCII characters.",
      },
    ],
  });
}
