import { uniformFloat64 } from "pure-rand/distribution/uniformFloat64";
import { mersenne } from "pure-rand/generator/mersenne";
import type { Decoder, TokenCandidate } from "./beam-search.ts";

export interface SamplingOptions {
  /** Divides the log-probabilities before a token is drawn; > 0. Below 1 the likely ones gain. */
  temperature: number;
  /** Uniform in [0, 1). */
  random: () => number;
  /** End-of-caption token included. */
  maxNewTokens: number;
  lengthPenalty: number;
  bosTokenId: number;
  eosTokenId: number;
}

// Only the likeliest tokens are drawn from: what lies behind them is hardly ever language.
const topK = 16;

/** One caption of an image, drawn token by token (top-k sampling, arXiv:1805.04833). */
export async function sampleCaption(decoder: Decoder, options: SamplingOptions): Promise<TokenCandidate> {
  const { maxNewTokens, lengthPenalty, bosTokenId, eosTokenId } = options;
  const tokens: number[] = [];
  let sum = 0;
  while (tokens.length < maxNewTokens && tokens.at(-1) !== eosTokenId) {
    const next = await decoder.step([tokens.at(-1) ?? bosTokenId], [0], topK);
    const logps = next.logps.subarray(0, Math.min(topK, next.width));
    const drawn = draw(logps, options.temperature, options.random());
    tokens.push(next.tokens[drawn]!);
    sum = Math.fround(sum + logps[drawn]!);
  }
  const score = Math.fround(sum / Math.fround(tokens.length ** lengthPenalty));
  return { tokens, logprob: sum, score, finished: tokens.at(-1) === eosTokenId };
}

/** The same numbers for the same seed, uniform in [0, 1). */
export function seededRandom(seed: number): () => number {
  const generator = mersenne(seed);
  return () => uniformFloat64(generator);
}

/** The index at which the cumulative distribution passes a number in [0, 1). */
function draw(logps: Float32Array, temperature: number, uniform: number): number {
  const highest = logps[0]!;
  const weights = Array.from(logps, (logp) => Math.exp((logp - highest) / temperature));
  let left = uniform * weights.reduce((total, weight) => total + weight, 0);
  const found = weights.findIndex((weight) => (left -= weight) < 0);
  return found < 0 ? weights.length - 1 : found; // only where rounding let the sum fall short
}
