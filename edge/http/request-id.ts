import type { MiddlewareHandler } from "hono";
import type { AppEnv } from "./context.ts";
import { newId } from "./ids.ts";

const wellFormed = /^[A-Za-z0-9_-]{8,64}$/;

/** Takes the caller's X-Request-Id, if it is well formed, or makes one; every answer carries it. */
export function requestId(): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const given = c.req.header("x-request-id");
    const id = given && wellFormed.test(given) ? given : newId("request");
    c.set("requestId", id);
    await next();
    c.header("x-request-id", id);
  };
}
