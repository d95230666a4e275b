/** What a viewer may say of a caption. */
export const ratings = ["up", "down"] as const;
export type Rating = (typeof ratings)[number];

/** Why a viewer gave a thumb; more than one may apply. */
export const feedbackReasons = ["wrong", "incomplete", "too_long", "too_short", "style", "offensive", "other"] as const;
export type FeedbackReason = (typeof feedbackReasons)[number];

/**
 * What an API key may do. `feedback:write` reads nothing, so it may be shown to a browser; `admin`
 * includes all others.
 */
export const scopes = [
  "captions:write",
  "feedback:write",
  "jobs:write",
  "models:read",
  "models:promote",
  "admin",
] as const;
export type Scope = (typeof scopes)[number];

/** The image formats that are read. */
export const imageMediaTypes = ["image/jpeg", "image/png", "image/webp"] as const;
export type ImageMediaType = (typeof imageMediaTypes)[number];
