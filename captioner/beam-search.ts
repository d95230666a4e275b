/** The tokens worth a look after each live caption, with their log-probabilities, best first. */
export interface Continuations {
  /** [N, width] */
  logps: Float32Array;
  /** [N, width] */
  tokens: Int32Array;
  width: number;
}

/** A decoder with the past of each live caption in its cache. */
export interface Decoder {
  vocabSize: number;
  /**
   * Appends one token to each of N captions.
   *
   * @param tokens The token that each caption grows by, [N].
   * @param parents The caption of the previous call that each one continues, [N].
   * @param width How many continuations of each are asked for, at least.
   */
  step(tokens: readonly number[], parents: readonly number[], width: number): Promise<Continuations>;
}

export interface BeamSearchOptions {
  numBeams: number;
  /** End-of-caption token included. */
  maxNewTokens: number;
  lengthPenalty: number;
  bosTokenId: number;
  eosTokenId: number;
}

/** A caption as ids. */
export interface TokenCandidate {
  /** Without BOS; ends with EOS where the caption is finished. */
  tokens: number[];
  /** Summed log-probability, EOS included. */
  logprob: number;
  /** `logprob / length ** lengthPenalty`, the length counting EOS; ranks the candidates. */
  score: number;
  finished: boolean;
}

interface Beam {
  tokens: number[];
  sum: number;
}

interface Expansion {
  sum: number;
  beam: number;
  token: number;
}

/**
 * The best captions of one image, best first; the rules are `dico.search`'s own.
 *
 * Sums are kept in float32, so the edge and the GPU worker rank alike.
 *
 * @returns At most `numBeams` candidates; unfinished ones only where fewer finished.
 */
export async function beamSearch(decoder: Decoder, options: BeamSearchOptions): Promise<TokenCandidate[]> {
  const { numBeams, maxNewTokens, lengthPenalty, eosTokenId } = options;
  let beams: Beam[] = [{ tokens: [], sum: 0 }];
  let last = [options.bosTokenId];
  let parents = [0];
  const finished: TokenCandidate[] = [];
  for (let length = 1; length <= maxNewTokens && beams.length > 0; length++) {
    const next = await decoder.step(last, parents, 2 * numBeams);
    const ranked = rankExpansions(beams, next, 2 * numBeams);
    const live: Expansion[] = [];
    ranked.forEach((expansion, rank) => {
      if (expansion.token !== eosTokenId) {
        if (live.length < numBeams) live.push(expansion);
      } else if (rank < numBeams) {
        const tokens = [...beams[expansion.beam]!.tokens, eosTokenId];
        const score = scoreOf(expansion.sum, length, lengthPenalty);
        insertRanked(finished, { tokens, logprob: expansion.sum, score, finished: true }, numBeams);
      }
    });
    beams = live.map(({ beam, token, sum }) => ({ tokens: [...beams[beam]!.tokens, token], sum }));
    last = live.map(({ token }) => token);
    parents = live.map(({ beam }) => beam);
    const bestLive = beams[0];
    const worst = finished[numBeams - 1];
    if (worst && bestLive && worst.score >= scoreOf(bestLive.sum, length, lengthPenalty)) break;
  }
  for (const { tokens, sum } of beams) {
    if (finished.length >= numBeams) break;
    const score = scoreOf(sum, tokens.length, lengthPenalty);
    finished.push({ tokens, logprob: sum, score, finished: false });
  }
  return finished;
}

function scoreOf(sum: number, length: number, lengthPenalty: number): number {
  return Math.fround(sum / Math.fround(length ** lengthPenalty));
}

/** The best `count` of all beams' continuations; of equals the lower beam, then the lower token. */
function rankExpansions(beams: Beam[], next: Continuations, count: number): Expansion[] {
  const all: Expansion[] = [];
  beams.forEach(({ sum }, beam) => {
    for (let i = beam * next.width; i < (beam + 1) * next.width; i++) {
      all.push({ sum: Math.fround(sum + next.logps[i]!), beam, token: next.tokens[i]! });
    }
  });
  all.sort((a, b) => b.sum - a.sum || a.beam - b.beam || a.token - b.token);
  return all.slice(0, count);
}

/** Keeps the best `limit`, best first; the earlier of equals stays before the later. */
function insertRanked(ranked: TokenCandidate[], candidate: TokenCandidate, limit: number): void {
  const better = ranked.findIndex(({ score }) => score < candidate.score);
  ranked.splice(better < 0 ? ranked.length : better, 0, candidate);
  ranked.length = Math.min(ranked.length, limit);
}
