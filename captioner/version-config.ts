import { z } from "zod";

const TokenId = z.int().nonnegative();

/** The parts of config.json that decoding needs (transformers' VisionEncoderDecoder). */
export const ModelConfig = z.object({
  decoder_start_token_id: TokenId,
  eos_token_id: TokenId,
  pad_token_id: TokenId,
  decoder: z.object({
    decoder_layers: z.int().min(1).max(64),
    decoder_attention_heads: z.int().min(1).max(64),
    d_model: z.int().min(1).optional(),
    max_position_embeddings: z.int().min(2).optional(),
  }),
});
export type ModelConfig = z.infer<typeof ModelConfig>;

/** generation_config.json: what a request leaves open. */
export const GenerationConfig = z.object({
  num_beams: z.int().min(1).max(16),
  max_new_tokens: z.int().min(1).max(256),
  length_penalty: z.number().min(0).max(4),
});
export type GenerationConfig = z.infer<typeof GenerationConfig>;

const Side = z.int().min(16).max(1024);
const Channels = z.array(z.number()).length(3);

/**
 * preprocessor_config.json. Its `resample` is not read: it names the filter that other tools have
 * nearest to Pillow's bicubic, and ours is Pillow's bicubic itself.
 */
export const PreprocessorConfig = z.object({
  size: z.union([z.object({ shortest_edge: Side }), z.object({ height: Side, width: Side })]),
  crop_size: z.object({ height: Side, width: Side }),
  image_mean: Channels,
  image_std: Channels,
  rescale_factor: z.number().positive().optional(),
});
export type PreprocessorConfig = z.infer<typeof PreprocessorConfig>;
