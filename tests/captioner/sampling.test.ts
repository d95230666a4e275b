import { describe, expect, test } from "vitest";
import type { Decoder } from "../../captioner/beam-search.ts";
import { sampleCaption, seededRandom, type SamplingOptions } from "../../captioner/sampling.ts";

const eos = 1;
const options = { temperature: 1, maxNewTokens: 8, lengthPenalty: 1, bosTokenId: 0, eosTokenId: eos };

/** Says 2, 3 or 4 with these probabilities, best first, then ends. */
function decoderOf(probabilities: readonly [number, number, number]): Decoder {
  return {
    vocabSize: 5,
    step: ([last]) =>
      Promise.resolve(
        last === options.bosTokenId
          ? { logps: Float32Array.from(probabilities, Math.log), tokens: Int32Array.of(2, 3, 4), width: 3 }
          : { logps: Float32Array.of(0), tokens: Int32Array.of(eos), width: 1 },
      ),
  };
}

/** Numbers that are spread evenly over [0, 1). */
function evenly(count: number): () => number {
  let drawn = 0;
  return () => (((drawn++ >> 1) % count) + 0.5) / count; // each serves the word and the end after it
}

async function shares(settings: Partial<SamplingOptions>, count = 1000): Promise<number[]> {
  const random = evenly(count);
  const seen = new Map<number, number>();
  for (let i = 0; i < count; i++) {
    const { tokens } = await sampleCaption(decoderOf([0.6, 0.3, 0.1]), { ...options, random, ...settings });
    const word = tokens[0] ?? eos;
    seen.set(word, (seen.get(word) ?? 0) + 1 / count);
  }
  return [2, 3, 4].map((token) => seen.get(token) ?? 0);
}

describe("a drawn caption", () => {
  test("comes as often as it is likely, at temperature 1", async () => {
    const [first, second, third] = await shares({});
    expect(first).toBeCloseTo(0.6, 2);
    expect(second).toBeCloseTo(0.3, 2);
    expect(third).toBeCloseTo(0.1, 2);
  });

  test("is the likeliest ever more often as the temperature falls", async () => {
    const [warm] = await shares({ temperature: 0.5 });
    expect(warm).toBeCloseTo(0.36 / (0.36 + 0.09 + 0.01), 2);
    expect(await shares({ temperature: 0.01 })).toEqual([expect.closeTo(1, 6), 0, 0]);
  });

  test("is the same for the same seed, and neighbouring seeds differ as chance would have it", async () => {
    const said = async (seed: number) =>
      (await sampleCaption(decoderOf([0.6, 0.3, 0.1]), { ...options, random: seededRandom(seed) })).tokens[0];
    const seeds = Array.from({ length: 1000 }, (_, seed) => seed);
    const drawn = await Promise.all(seeds.map(said));
    expect(await Promise.all(seeds.map(said))).toEqual(drawn);
    const often = [2, 3, 4].map((token) => drawn.filter((each) => each === token).length / 1000);
    expect(often).toEqual([expect.closeTo(0.6, 1), expect.closeTo(0.3, 1), expect.closeTo(0.1, 1)]);
    const repeated = drawn.filter((token, seed) => token === drawn[seed - 1]).length / 1000;
    expect(repeated).toBeCloseTo(0.46, 1); // .6² + .3² + .1²
  });

  test("carries its log-probability at temperature 1 and its score", async () => {
    const drawn = await sampleCaption(decoderOf([0.6, 0.3, 0.1]), { ...options, temperature: 2, random: () => 0.99 });
    expect(drawn).toMatchObject({ tokens: [4, eos], finished: true });
    expect(drawn.logprob).toBeCloseTo(Math.log(0.1), 5);
    expect(drawn.score).toBeCloseTo(Math.log(0.1) / 2, 5);
  });

  test("is cut short where it does not end", async () => {
    const endless: Decoder = {
      vocabSize: 5,
      step: () => Promise.resolve({ logps: Float32Array.of(0), tokens: Int32Array.of(2), width: 1 }),
    };
    const drawn = await sampleCaption(endless, { ...options, random: Math.random });
    expect(drawn).toEqual({ tokens: Array.from({ length: 8 }, () => 2), logprob: 0, score: 0, finished: false });
  });

  test("is drawn from the sixteen likeliest tokens", async () => {
    const wide: Decoder = {
      vocabSize: 40,
      step: ([last], _parents, width) => {
        expect(width).toBe(16);
        return Promise.resolve(
          last === options.bosTokenId
            ? {
                logps: new Float32Array(40).fill(-3),
                tokens: Int32Array.from({ length: 40 }, (_, i) => i + 2),
                width: 40,
              }
            : { logps: Float32Array.of(0), tokens: Int32Array.of(eos), width: 1 },
        );
      },
    };
    const { tokens } = await sampleCaption(wide, { ...options, random: () => 1 - 1e-9 });
    expect(tokens).toEqual([17, eos]);
  });
});
