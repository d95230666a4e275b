import { z } from "zod";

/** One fault in a request, and how to mend it. */
export const ProblemItem = z
  .strictObject({
    pointer: z.string().meta({
      description: "JSON pointer into the body, or query, path or header and the parameter's name.",
      example: "/rating",
    }),
    code: z.string().meta({ description: "What is wrong, as a fixed word.", example: "invalid_value" }),
    detail: z.string().meta({ description: "What is wrong, as a sentence." }),
    fix: z.string().meta({ description: "What to send instead." }),
  })
  .meta({ id: "ProblemItem", description: "One fault in a request, and how to mend it." });
export type ProblemItem = z.infer<typeof ProblemItem>;

/** The one shape of every error (RFC 9457). */
export const Problem = z
  .strictObject({
    type: z.string().meta({
      description: "A name of the problem that never changes.",
      example: "urn:captions-that-learn:problem:CAPTION_NOT_FOUND",
    }),
    title: z.string().meta({ description: "The problem in general." }),
    status: z.int().min(400).max(599),
    detail: z.string().meta({ description: "This occurrence of it." }),
    code: z.string().meta({ description: "Branch on this.", example: "CAPTION_NOT_FOUND" }),
    request_id: z.string().meta({ description: "Quote it when asking for help." }),
    retryable: z.boolean().meta({ description: "Whether the same request may succeed later." }),
    errors: z.array(ProblemItem).meta({ description: "Each fault found; empty where one sentence says it." }),
  })
  .meta({ id: "Problem", description: "An error (RFC 9457), as application/problem+json." });
export type Problem = z.infer<typeof Problem>;

/** What a list's query may hold; spread into a strict object. */
export const pageQuery = {
  limit: z.coerce.number().int().min(1).max(100).default(20).meta({
    description: "How many at most.",
  }),
  cursor: z.string().min(1).max(200).optional().meta({
    description: "`next_cursor` of the page before.",
  }),
};

/** A page of a list, newest first. */
export function listOf<T extends z.ZodType>(item: T, id: string) {
  return z
    .strictObject({
      object: z.literal("list"),
      data: z.array(item),
      has_more: z.boolean(),
      next_cursor: z.string().nullable().meta({
        description: "Pass it as `cursor` for the next page; null on the last.",
      }),
    })
    .meta({ id, description: "One page, newest first." });
}

/** The answer to a deletion. */
export function deletedOf(object: string, idSchema: z.ZodType<string>, id: string) {
  return z
    .strictObject({ object: z.literal(object), id: idSchema, deleted: z.literal(true) })
    .meta({ id, description: "What was deleted." });
}

/** Up to 16 notes of the caller's own. */
export const Metadata = z
  .record(z.string().min(1).max(64), z.string().max(512))
  .refine((metadata) => Object.keys(metadata).length <= 16, { message: "at most 16 entries" })
  .meta({ description: "Notes of the caller's own: 16 entries, 64 characters a key, 512 a value." });
export type Metadata = z.infer<typeof Metadata>;
