/** The reasons for which a caption is refused; each a fixed code that callers may branch on. */
export const captionerErrorCodes = [
  "IMAGE_TYPE_UNSUPPORTED",
  "IMAGE_TOO_LARGE",
  "IMAGE_TOO_MANY_PIXELS",
  "IMAGE_UNREADABLE",
  "MODEL_FILE_MISMATCH",
  "MODEL_INVALID",
  "MODEL_TOO_LARGE",
] as const;
export type CaptionerErrorCode = (typeof captionerErrorCodes)[number];

/** A refusal whose message is safe to show to the caller; the cause, if any, is for the log. */
export class CaptionerError extends Error {
  override readonly name = "CaptionerError";
  readonly code: CaptionerErrorCode;

  constructor(code: CaptionerErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
