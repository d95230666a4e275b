import { z } from "zod";
import { imageMediaTypes } from "../../db/value-lists.ts";
import { deletedOf, listOf, pageQuery } from "./shapes.ts";
import { CaptionId, Timestamp, VersionId } from "./ids.ts";
import { Sha256 } from "./trainer.ts";

/** Which version captions: a model, a model at an alias, or one version. */
export const ModelReference = z
  .string()
  .regex(/^([a-z0-9][a-z0-9-]{0,62}(@[a-z0-9][a-z0-9-]{0,62})?|ver_[0-9a-f]{24})$/)
  .meta({
    description:
      "A model (`scenes`, served by its alias `production`), a model at an alias (`scenes@canary`) or one version (`ver_…`).",
    example: "scenes",
  });

const maxBeams = 16;
const maxTokens = 64;
const maxSeed = 2 ** 31 - 1;

function optionsOf<T extends z.ZodType<number>>(whole: (least: number, most: number) => T, temperature: T) {
  return {
    model: ModelReference.default("scenes"),
    n: whole(1, maxBeams).optional().meta({
      description: "How many candidates to return, best first; at most num_beams. Default 1.",
    }),
    max_tokens: whole(1, maxTokens).optional().meta({
      description: "How long a caption may become. The default is the version's.",
    }),
    num_beams: whole(1, maxBeams).optional().meta({
      description: "Width of the beam search; 1 is greedy. The default is the version's.",
    }),
    temperature: temperature.optional().meta({
      description:
        "0, the default, searches for the best caption. Above 0 one is drawn, 1 as often as the version thinks it likely: other wordings are shown, and thumbs teach wishes that the best captions never meet. Not with n or num_beams.",
    }),
    seed: whole(0, maxSeed).optional().meta({
      description: "Of a drawn caption: the same seed, image, version and temperature draw the same one.",
    }),
  };
}

const jsonOptions = optionsOf((least, most) => z.int().min(least).max(most), z.number().min(0).max(2));
const textOptions = optionsOf(
  (least, most) => z.coerce.number().int().min(least).max(most),
  z.coerce.number().min(0).max(2),
);

/** Options of a request whose body is the image itself. */
export const CaptionQuery = z.strictObject(textOptions);
export type CaptionQuery = z.infer<typeof CaptionQuery>;

/** An image by address or in the body. */
export const ImageInput = z
  .strictObject({
    url: z.url().max(2048).optional().meta({
      description: "https only, public addresses only, at most 3 redirects, 10 seconds, 10 MB.",
    }),
    data: z.string().min(1).optional().meta({
      description: "Base64, with or without `data:image/…;base64,` before it.",
    }),
  })
  .refine((image) => (image.url === undefined) !== (image.data === undefined), {
    message: "give either url or data",
  })
  .meta({ id: "ImageInput", description: "An image: either `url` or `data`." });
export type ImageInput = z.infer<typeof ImageInput>;

export const CaptionRequest = z
  .strictObject({ image: ImageInput, ...jsonOptions })
  .meta({ id: "CaptionRequest", description: "An image to caption, as JSON." });
export type CaptionRequest = z.infer<typeof CaptionRequest>;

export const CaptionForm = z
  .strictObject({
    image: z
      .custom<File>((value) => value instanceof File, { message: "image must be a file" })
      .meta({ type: "string", format: "binary", description: "The image file." }),
    ...textOptions,
  })
  .meta({ id: "CaptionForm", description: "An image to caption, as a form." });
export type CaptionForm = z.infer<typeof CaptionForm>;

/** One candidate of a beam search, or the caption that was drawn. */
export const CaptionCandidate = z
  .strictObject({
    caption: z.string(),
    score: z.number().meta({
      description: "Log-probability over length to the power of the length penalty; candidates are ranked by it.",
    }),
    log_probability: z.number().max(0).meta({ description: "Summed over the caption's tokens." }),
    finished: z.boolean().meta({ description: "False where max_tokens cut the caption short." }),
  })
  .meta({ id: "CaptionCandidate", description: "One candidate of the beam search, or the caption that was drawn." });
export type CaptionCandidate = z.infer<typeof CaptionCandidate>;

export const CaptionImage = z
  .strictObject({
    sha256: Sha256,
    media_type: z.enum(imageMediaTypes),
    size_bytes: z.int().positive(),
    width: z.int().positive().meta({ description: "Pixels, upright." }),
    height: z.int().positive().meta({ description: "Pixels, upright." }),
  })
  .meta({ id: "CaptionImage", description: "The image as it was received." });
export type CaptionImage = z.infer<typeof CaptionImage>;

/** A caption as it was served. */
export const Caption = z
  .strictObject({
    object: z.literal("caption"),
    id: CaptionId,
    caption: z.string().meta({ description: "The best candidate, or the one that was drawn." }),
    candidates: z.array(CaptionCandidate).min(1).meta({
      description: "Best first: finished ones by score, then those that max_tokens cut short.",
    }),
    model: ModelReference.meta({ description: "As the request named it." }),
    version: VersionId.meta({ description: "The version that made the caption." }),
    image: CaptionImage,
    created_at: Timestamp,
  })
  .meta({ id: "Caption", description: "A caption as it was served." });
export type Caption = z.infer<typeof Caption>;

export const CaptionList = listOf(Caption, "CaptionList");
export type CaptionList = z.infer<typeof CaptionList>;

export const CaptionListQuery = z.strictObject({
  ...pageQuery,
  version: VersionId.optional().meta({ description: "Only captions that this version made." }),
});
export type CaptionListQuery = z.infer<typeof CaptionListQuery>;

export const DeletedCaption = deletedOf("caption", CaptionId, "DeletedCaption");
