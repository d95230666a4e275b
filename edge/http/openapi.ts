import type { MiddlewareHandler } from "hono";
import { z } from "zod";
import type { Scope } from "../../db/value-lists.ts";
import { Problem } from "../contract/shapes.ts";
import { requireAdmin, requireScope } from "./auth.ts";
import type { AppEnv, TenantEnv } from "./context.ts";
import { problems, type ProblemCode } from "./errors.ts";

/** Of an operation: its answer as JSON. */
export function json<T extends z.ZodType>(schema: T, description: string) {
  return { description, content: { "application/json": { schema } } };
}

/** Of an operation: its required JSON body. */
export function jsonBody<T extends z.ZodType>(schema: T) {
  return { required: true, content: { "application/json": { schema } } };
}

/** Of an operation: all its refusals by status, and the one shape of what nobody expected. */
export function refusals(...codes: ProblemCode[]) {
  const byStatus: Record<string, { description: string; content: ReturnType<typeof problemContent> }> = {};
  for (const code of codes) {
    const { status, title } = problems[code];
    const known = byStatus[status];
    const line = `- \`${code}\`: ${title}.`;
    byStatus[status] = {
      description: known ? `${known.description}\n${line}` : line,
      content: problemContent(),
    };
  }
  return {
    ...byStatus,
    default: { description: "- `INTERNAL`: Something failed on our side.", content: problemContent() },
  };
}

function problemContent() {
  return { "application/problem+json": { schema: Problem } };
}

/** Of an operation: the scope its key must have, and what else stands before the handler. */
export function secured(scope: Scope | null, ...more: (MiddlewareHandler<TenantEnv> | MiddlewareHandler<AppEnv>)[]) {
  return {
    security: [{ apiKey: scope ? [scope] : [] }],
    // Whatever needs AppEnv's variables finds them in TenantEnv's too.
    middleware: [requireScope(scope), ...more] as MiddlewareHandler<TenantEnv>[],
  };
}

/** Of an operation: for the operator only. */
export function adminOnly(...more: MiddlewareHandler<AppEnv>[]) {
  return { security: [{ adminToken: [] }], middleware: [requireAdmin(), ...more] };
}

/** Codes that `secured` may answer with. */
export const authRefusals = ["UNAUTHENTICATED", "SCOPE_MISSING"] as const satisfies ProblemCode[];

/** Codes that any JSON body may be answered with. */
export const jsonRefusals = [
  "INVALID_REQUEST",
  "INVALID_JSON",
  "BODY_TOO_LARGE",
  "UNSUPPORTED_MEDIA_TYPE",
] as const satisfies ProblemCode[];

/** A path's id: any text, since what is not an id names nothing and is answered with 404. */
export function pathId<Name extends string>(name: Name, description: string) {
  return z.object({ [name]: z.string().meta({ description }) } as Record<Name, z.ZodString>);
}
