import { z } from "zod";

/** The service answers and its stores do too. */
export const Health = z
  .strictObject({ object: z.literal("health"), status: z.literal("ok") })
  .meta({ id: "Health", description: "The service answers, and so does its directory." });
export type Health = z.infer<typeof Health>;
