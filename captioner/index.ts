import { Tensor, type InferenceSession } from "onnxruntime-web/wasm";
import { beamSearch, type TokenCandidate } from "./beam-search.ts";
import { createOnnxDecoder } from "./decoder.ts";
import { CaptionerError } from "./errors.ts";
import {
  factsOf,
  inspectImage,
  normalise,
  renderSquare,
  type ImageFacts,
  type ImageLimits,
} from "./pixels/preprocess.ts";
import type { Runtime } from "./runtime.ts";
import { sampleCaption, seededRandom } from "./sampling.ts";
import { createSessionCache, type SessionStats, type VersionSource } from "./session.ts";
import { createVersionCache, type LoadedVersion } from "./version.ts";

/** What a request may choose; what it leaves open, the version decides. */
export interface CaptionOptions {
  numBeams?: number;
  maxNewTokens?: number;
  /** How many of the beams' captions to return. */
  candidates?: number;
  /** Above 0, one caption is drawn instead of searched for; beams and candidates do not count then. */
  temperature?: number;
  /** Of what is drawn: the same one draws the same caption. */
  seed?: number;
}

/** One caption of an image, with the text that its tokens spell. */
export interface CaptionCandidate extends TokenCandidate {
  caption: string;
}

/** Milliseconds; 0 throughout where the clock stands still during computation. */
export interface CaptionTimings {
  /** Reading the image: decoding, turning, resizing. */
  decode_ms: number;
  /** Opening model files, or waiting for others who do. */
  load_ms: number;
  encode_ms: number;
  search_ms: number;
  total_ms: number;
}

export interface CaptionResult {
  /** Best first, at least one. */
  candidates: CaptionCandidate[];
  image: ImageFacts;
  timings: CaptionTimings;
}

/** An image checked, decoded and rendered for a version, ready to be captioned. */
export interface PreparedImage {
  /** RGB as the tower sees it, [height, width, 3]. */
  pixels: Uint8Array;
  /** float32 [3, height, width]. */
  pixelValues: Float32Array;
  image: ImageFacts;
}

export interface Captioner {
  /**
   * Captions an image with a version.
   *
   * @throws CaptionerError with any of its codes.
   */
  caption(image: Uint8Array, version: VersionSource, options?: CaptionOptions): Promise<CaptionResult>;
  /**
   * Checks an image's headers against the limits; decodes no pixel.
   *
   * @throws IMAGE_TOO_LARGE | IMAGE_TOO_MANY_PIXELS | IMAGE_TYPE_UNSUPPORTED | IMAGE_UNREADABLE
   */
  inspect(image: Uint8Array): ImageFacts;
  /** Decodes, turns, resizes and normalises an image as a version wants it. */
  preprocess(image: Uint8Array, version: VersionSource): Promise<PreparedImage>;
  stats(): SessionStats;
}

export interface CaptionerSettings {
  runtime: Runtime;
  /** What decoding and models together may take, in bytes. */
  memoryBudgetBytes: number;
  /** Which of a version's two files to run; `int8` has the suffix `_quantized`. */
  precision?: "fp32" | "int8";
  limits?: Partial<ImageLimits>;
  /** Milliseconds. */
  now?: () => number;
  /** Uniform in [0, 1); what captions are drawn with where no seed is given. */
  random?: () => number;
}

/** The one way from an image's bytes to its captions; make one per isolate or process. */
export function createCaptioner(settings: CaptionerSettings): Captioner {
  const { runtime, memoryBudgetBytes, now = () => performance.now(), random = Math.random } = settings;
  const limits: ImageLimits = {
    maxBytes: 10_000_000,
    maxPixels: 40_000_000,
    maxAspectRatio: 100,
    maxDecodeBytes: memoryBudgetBytes,
    ...settings.limits,
  };
  const suffix = settings.precision === "int8" ? "_quantized" : "";
  const modelPaths = [`onnx/encoder_model${suffix}.onnx`, `onnx/decoder_model_merged${suffix}.onnx`];
  const sessions = createSessionCache(runtime, memoryBudgetBytes);
  const versions = createVersionCache();

  const prepare = async (image: Uint8Array, loaded: LoadedVersion): Promise<PreparedImage> => {
    const header = inspectImage(image, limits);
    const pixels = await renderSquare(runtime.codecs, image, header, loaded.preprocessor);
    return { pixels, pixelValues: normalise(pixels, loaded.preprocessor), image: factsOf(header) };
  };

  return {
    inspect: (image) => factsOf(inspectImage(image, limits)),
    preprocess: async (image, version) => {
      inspectImage(image, limits);
      return prepare(image, await versions.load(version));
    },
    caption: async (image, version, options = {}) => {
      const started = now();
      inspectImage(image, limits);
      const loaded = await versions.load(version);
      const configured = now();
      const prepared = await prepare(image, loaded);
      const decoded = now();
      return sessions.withSessions(version, modelPaths, async ([encoder, decoder]) => {
        const opened = now();
        const { height, width } = loaded.preprocessor.crop_size;
        const pixelValues = new Tensor("float32", prepared.pixelValues, [1, 3, height, width]);
        const states = await encodeImage(encoder!, pixelValues);
        const encoded = now();
        const found = await search(decoder!, states, loaded, options, random);
        const ended = now();
        return {
          candidates: found.map((candidate) => ({ ...candidate, caption: loaded.tokenizer.decode(candidate.tokens) })),
          image: prepared.image,
          timings: {
            decode_ms: decoded - configured,
            load_ms: configured - started + opened - decoded,
            encode_ms: encoded - opened,
            search_ms: ended - encoded,
            total_ms: ended - started,
          },
        };
      });
    },
    stats: () => sessions.stats(),
  };
}

async function encodeImage(encoder: InferenceSession, pixelValues: Tensor): Promise<Tensor> {
  const results = await encoder.run({ pixel_values: pixelValues });
  const states = results["last_hidden_state"];
  if (!states) throw new CaptionerError("MODEL_INVALID", "the encoder has no last_hidden_state");
  return states;
}

async function search(
  decoder: InferenceSession,
  states: Tensor,
  { model, generation, tokenizer }: LoadedVersion,
  options: CaptionOptions,
  random: () => number,
): Promise<TokenCandidate[]> {
  const longest = model.decoder.max_position_embeddings ?? generation.max_new_tokens;
  const onnx = createOnnxDecoder(decoder, states, tokenizer.vocabSize);
  const rules = {
    maxNewTokens: Math.min(options.maxNewTokens ?? generation.max_new_tokens, longest),
    lengthPenalty: generation.length_penalty,
    bosTokenId: model.decoder_start_token_id,
    eosTokenId: model.eos_token_id,
  };
  const { temperature = 0, seed } = options;
  if (temperature > 0) {
    const drawnWith = seed === undefined ? random : seededRandom(seed);
    return [await sampleCaption(onnx, { ...rules, temperature, random: drawnWith })];
  }
  const found = await beamSearch(onnx, { ...rules, numBeams: options.numBeams ?? generation.num_beams });
  return found.slice(0, options.candidates ?? 1);
}

export { CaptionerError, type CaptionerErrorCode } from "./errors.ts";
export type { ImageFacts, ImageLimits } from "./pixels/preprocess.ts";
export type { SessionStats, VersionSource } from "./session.ts";
