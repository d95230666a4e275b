import type { Feedback, FeedbackRequest } from "../contract/feedback.ts";
import type { TenantDeps } from "../http/context.ts";
import type { FeedbackRow } from "../tenant/feedback.ts";

/**
 * Stores one viewer's thumb on a caption; a second one by the same viewer replaces the first.
 *
 * @throws CAPTION_NOT_FOUND when the tenant was never served such a caption.
 */
export async function recordFeedback(
  deps: TenantDeps,
  captionId: string,
  request: FeedbackRequest,
): Promise<{ feedback: Feedback; created: boolean }> {
  const now = deps.now();
  const { row, created } = await deps.tenant.upsertFeedback({
    id: deps.newId("feedback"),
    captionId,
    endUser: request.end_user ?? "",
    rating: request.rating,
    correction: request.correction ?? null,
    reasons: [...new Set(request.reasons)],
    comment: request.comment ?? null,
    createdAt: now,
    updatedAt: now,
  });
  return { feedback: feedbackFromRow(row), created };
}

export function feedbackFromRow(row: FeedbackRow): Feedback {
  return {
    object: "feedback",
    id: row.id,
    caption_id: row.captionId,
    version: row.versionId,
    rating: row.rating,
    correction: row.correction,
    end_user: row.endUser === "" ? null : row.endUser,
    reasons: row.reasons,
    comment: row.comment,
    created_at: row.createdAt.toISOString(),
    updated_at: row.updatedAt.toISOString(),
  };
}
