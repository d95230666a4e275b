// Against a plain search that keeps whole captions, asks for all tokens and caches nothing.
import { describe, expect, test } from "vitest";
import { beamSearch, type BeamSearchOptions, type Decoder, type TokenCandidate } from "../../captioner/beam-search.ts";

const eos = 1;

/** A language model out of a hash: log-probabilities of the next token after a caption. */
function randomModel(seed: number, vocabSize: number, levels: number): (caption: readonly number[]) => Float32Array {
  return (caption) => {
    const logits = Float32Array.from({ length: vocabSize }, (_, token) => {
      let state = (seed * 2654435761 + token * 40503 + 97) >>> 0;
      for (const past of caption) state = (Math.imul(state ^ past, 1664525) + 1013904223) >>> 0;
      state ^= state >>> 15;
      state = Math.imul(state, 2246822519) >>> 0;
      // Few levels make many ties.
      return (Math.floor(((state >>> 8) / 2 ** 24) * levels) / levels) * 4 + (token === eos ? caption.length * 0.3 : 0);
    });
    const total = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
    return logits.map((logit) => logit - total);
  };
}

/** Feeds the search under test: it must name the right parents to get the right continuations. */
function decoderOf(model: (caption: readonly number[]) => Float32Array, vocabSize: number): Decoder {
  let captions: number[][] = [[]];
  return {
    vocabSize,
    step: (tokens, parents, width) => {
      captions = tokens.map((token, i) => [...(captions[parents[i] ?? 0] ?? []), token]);
      const most = Math.min(width, vocabSize);
      const rows = captions.map((caption) => {
        const logps = model(caption);
        return Array.from(logps, (logp, token) => ({ logp, token }))
          .sort((a, b) => b.logp - a.logp || a.token - b.token)
          .slice(0, most);
      });
      return Promise.resolve({
        logps: Float32Array.from(rows.flat(), ({ logp }) => logp),
        tokens: Int32Array.from(rows.flat(), ({ token }) => token),
        width: most,
      });
    },
  };
}

function plainSearch(
  model: (caption: readonly number[]) => Float32Array,
  { numBeams, maxNewTokens, lengthPenalty, bosTokenId }: BeamSearchOptions,
): TokenCandidate[] {
  const score = (sum: number, length: number): number => Math.fround(sum / Math.fround(length ** lengthPenalty));
  let live = [{ tokens: [] as number[], sum: 0 }];
  let finished: TokenCandidate[] = [];
  for (let length = 1; length <= maxNewTokens && live.length > 0; length++) {
    const all = live.flatMap(({ tokens, sum }, beam) =>
      Array.from(model([bosTokenId, ...tokens]), (logp, token) => ({
        tokens,
        beam,
        token,
        sum: Math.fround(sum + logp),
      })),
    );
    all.sort((a, b) => b.sum - a.sum || a.beam - b.beam || a.token - b.token);
    const best = all.slice(0, 2 * numBeams);
    for (const [rank, { tokens, token, sum }] of best.entries()) {
      if (token !== eos || rank >= numBeams) continue;
      finished.push({ tokens: [...tokens, eos], logprob: sum, score: score(sum, length), finished: true });
    }
    finished = finished
      .map((candidate, order) => ({ candidate, order }))
      .sort((a, b) => b.candidate.score - a.candidate.score || a.order - b.order)
      .map(({ candidate }) => candidate)
      .slice(0, numBeams);
    live = best
      .filter(({ token }) => token !== eos)
      .slice(0, numBeams)
      .map(({ tokens, token, sum }) => ({ tokens: [...tokens, token], sum }));
    const worst = finished[numBeams - 1];
    if (worst && live[0] && worst.score >= score(live[0].sum, length)) break;
  }
  const open = live.map(({ tokens, sum }) => ({
    tokens,
    logprob: sum,
    score: score(sum, tokens.length),
    finished: false,
  }));
  return [...finished, ...open.slice(0, numBeams - finished.length)];
}

describe("beam search", () => {
  const settings = [1, 2, 5, 16].flatMap((numBeams) =>
    [0, 1, 2].flatMap((lengthPenalty) => [3, 10].map((maxNewTokens) => ({ numBeams, lengthPenalty, maxNewTokens }))),
  );

  test.each(settings)(
    "$numBeams beams, penalty $lengthPenalty, $maxNewTokens tokens: as the plain search",
    async (chosen) => {
      const options = { ...chosen, bosTokenId: 0, eosTokenId: eos };
      for (let seed = 1; seed <= 20; seed++) {
        for (const levels of [1_000_000, 6]) {
          const model = randomModel(seed, 40, levels);
          expect(await beamSearch(decoderOf(model, 40), options)).toEqual(plainSearch(model, options));
        }
      }
    },
  );

  test("a vocabulary smaller than what is asked for is enough", async () => {
    const options = { numBeams: 5, lengthPenalty: 1, maxNewTokens: 4, bosTokenId: 0, eosTokenId: eos };
    const model = randomModel(3, 4, 1_000);
    expect(await beamSearch(decoderOf(model, 4), options)).toEqual(plainSearch(model, options));
  });
});
