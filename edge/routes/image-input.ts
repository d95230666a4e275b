import { CaptionForm, CaptionRequest, type CaptionQuery } from "../contract/captions.ts";
import type { Deps } from "../http/context.ts";
import { ApiError } from "../http/errors.ts";
import { parseInput } from "../http/problem.ts";
import type { CaptioningOptions } from "../services/captioning.ts";
import { fetchImage } from "../services/image-fetch.ts";

export const maxImageBytes = 10_000_000;
/** An image in base64 takes 4 bytes for 3; the rest is for the JSON around it. */
export const maxRequestBytes = Math.ceil(maxImageBytes / 3) * 4 + 100_000;

type Bytes = Uint8Array<ArrayBuffer>;

interface CaptionInput {
  body: Bytes;
  contentType: string;
  query: CaptionQuery;
  hasQuery: boolean;
}

/**
 * The image and the options of a caption request, in whichever of the three forms it came.
 *
 * @throws INVALID_REQUEST | INVALID_JSON | UNSUPPORTED_MEDIA_TYPE | IMAGE_URL_REFUSED
 *   | IMAGE_URL_UNREACHABLE | IMAGE_TOO_LARGE
 */
export async function readImage(
  deps: Deps,
  { body, contentType, query, hasQuery }: CaptionInput,
): Promise<{ image: Bytes; options: CaptioningOptions }> {
  const mediaType = contentType.replace(/;.*$/s, "").trim().toLowerCase();
  if (mediaType.startsWith("image/")) return { image: requireSome(body), options: query };
  if (hasQuery) {
    const detail = "Options come in the query only with an image as the body.";
    throw refuse("query", "unknown_field", detail, "Put them into the body.");
  }
  switch (mediaType) {
    case "application/json": {
      const { image, ...options } = parseInput(CaptionRequest, parseJson(body), "json");
      if (image.url !== undefined) return { image: await fetchImage(deps, image.url, maxImageBytes), options };
      return { image: requireSome(decodeBase64(image.data ?? "")), options };
    }
    case "multipart/form-data": {
      const { image, ...options } = parseInput(CaptionForm, await parseForm(body, contentType), "form");
      return { image: requireSome(new Uint8Array(await image.arrayBuffer())), options };
    }
    default:
      throw new ApiError("UNSUPPORTED_MEDIA_TYPE", "Send image/*, multipart/form-data or application/json.");
  }
}

function parseJson(body: Bytes): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body));
  } catch (error) {
    throw new ApiError("INVALID_JSON", "The body could not be parsed as JSON.", { cause: error });
  }
}

async function parseForm(body: Bytes, contentType: string): Promise<unknown> {
  try {
    const form = await new Response(body, { headers: { "content-type": contentType } }).formData();
    // A field sent twice becomes a list, which the schema refuses.
    const names = new Set(form.keys());
    return Object.fromEntries(Array.from(names, (name) => [name, single(form.getAll(name))]));
  } catch {
    throw refuse("", "invalid_format", "The body could not be parsed as a form.", "Send multipart/form-data.");
  }
}

function single(values: unknown[]): unknown {
  return values.length === 1 ? values[0] : values;
}

function requireSome(image: Bytes): Bytes {
  if (image.byteLength > 0) return image;
  throw refuse("/image", "too_small", "The image has no bytes.", "Send a JPEG, PNG or WebP file.");
}

function decodeBase64(data: string): Bytes {
  const start = data.startsWith("data:") ? data.indexOf(",") + 1 : 0;
  try {
    return Uint8Array.fromBase64(data.slice(start));
  } catch {
    const detail = "The image is not base64.";
    throw refuse("/image/data", "invalid_format", detail, "Encode the file's bytes as RFC 4648 base64.");
  }
}

function refuse(pointer: string, code: string, detail: string, fix: string): ApiError {
  return new ApiError("INVALID_REQUEST", detail, { errors: [{ pointer, code, detail, fix }] });
}
