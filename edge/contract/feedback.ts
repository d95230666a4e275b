import { z } from "zod";
import { feedbackReasons, ratings } from "../../db/value-lists.ts";
import { listOf, pageQuery } from "./shapes.ts";
import { CaptionId, FeedbackId, Timestamp, VersionId } from "./ids.ts";

export const EndUser = z
  .string()
  .trim()
  .min(1)
  .max(256)
  .meta({ description: "Your own name for the viewer; no personal data, please." });

/** A viewer's thumb on one caption. */
export const FeedbackRequest = z
  .strictObject({
    rating: z.enum(ratings).meta({ description: "The thumb." }),
    correction: z.string().trim().min(1).max(512).optional().meta({
      description: "A caption the viewer would have preferred; at most 512 characters.",
    }),
    end_user: EndUser.optional(),
    reasons: z.array(z.enum(feedbackReasons)).max(feedbackReasons.length).optional().meta({
      description: "Why.",
    }),
    comment: z.string().trim().min(1).max(2000).optional().meta({
      description: "In the viewer's words; nothing is trained on it.",
    }),
  })
  .meta({ id: "FeedbackRequest", description: "A viewer's thumb on one caption." });
export type FeedbackRequest = z.infer<typeof FeedbackRequest>;

/** A thumb as it is kept. */
export const Feedback = z
  .strictObject({
    object: z.literal("feedback"),
    id: FeedbackId,
    caption_id: CaptionId,
    version: VersionId.meta({ description: "The version that made the caption." }),
    rating: z.enum(ratings),
    correction: z.string().nullable(),
    end_user: z.string().nullable(),
    reasons: z.array(z.enum(feedbackReasons)),
    comment: z.string().nullable(),
    created_at: Timestamp,
    updated_at: Timestamp,
  })
  .meta({ id: "Feedback", description: "A viewer's thumb as it is kept." });
export type Feedback = z.infer<typeof Feedback>;

export const FeedbackList = listOf(Feedback, "FeedbackList");
export type FeedbackList = z.infer<typeof FeedbackList>;

export const FeedbackQuery = z.strictObject({
  ...pageQuery,
  rating: z.enum(ratings).optional().meta({ description: "Only these thumbs." }),
  version: VersionId.optional().meta({ description: "Only thumbs on this version's captions." }),
});
export type FeedbackQuery = z.infer<typeof FeedbackQuery>;
