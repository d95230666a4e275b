import { z } from "zod";
import { CaptionerError } from "./errors.ts";

const TokenizerFile = z.object({
  normalizer: z.null(),
  pre_tokenizer: z.object({
    type: z.literal("ByteLevel"),
    add_prefix_space: z.literal(false),
    use_regex: z.literal(true).optional(),
  }),
  decoder: z.object({ type: z.literal("ByteLevel") }),
  added_tokens: z.array(z.object({ id: z.int(), content: z.string(), special: z.boolean() })),
  model: z.object({
    type: z.literal("BPE"),
    vocab: z.record(z.string(), z.int().nonnegative()),
    merges: z.array(
      z.union([z.tuple([z.string(), z.string()]), z.string().transform((pair) => pair.split(" ") as [string, string])]),
    ),
  }),
});

/** The part of `tokenizer.json` that byte-level BPE uses; other kinds are refused. */
export type TokenizerFile = z.infer<typeof TokenizerFile>;
export const tokenizerFileSchema: z.ZodType<TokenizerFile> = TokenizerFile;

// GPT-2's pattern; JavaScript's own \s is not Unicode's White_Space, which Rust means by it.
const word =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** GPT-2's printable character for each byte. */
const characterOfByte: string[] = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
})();
const byteOfCharacter = new Map(characterOfByte.map((character, byte) => [character, byte]));

/** Captions to token ids and back, as Hugging Face's tokenizers do it with the same file. */
export interface Tokenizer {
  /** Ids without special tokens; text that spells one is plain text. */
  encode(text: string): number[];
  /** Text of the ids, special tokens left out. */
  decode(tokens: readonly number[]): string;
  vocabSize: number;
}

/** @throws MODEL_INVALID when the vocabulary lacks a byte or a merge's result. */
export function createTokenizer(file: TokenizerFile): Tokenizer {
  const ids = new Map(Object.entries(file.model.vocab));
  const texts = new Map([...ids].map(([text, id]) => [id, text]));
  const special = new Set<number>();
  for (const token of file.added_tokens) {
    texts.set(token.id, token.content);
    if (token.special) special.add(token.id);
  }
  const ranks = new Map<string, number>();
  file.model.merges.forEach(([left, right], rank) => {
    if (!ids.has(left + right)) throw new CaptionerError("MODEL_INVALID", `tokenizer.json lacks "${left + right}"`);
    ranks.set(`${left} ${right}`, rank);
  });
  for (const character of characterOfByte) {
    if (!ids.has(character)) throw new CaptionerError("MODEL_INVALID", `tokenizer.json lacks "${character}"`);
  }

  const encodeWord = (bytes: Uint8Array): string[] => {
    const parts = Array.from(bytes, (byte) => characterOfByte[byte]!);
    for (;;) {
      let best = -1;
      let bestRank = Infinity;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
        if (rank < bestRank) [best, bestRank] = [i, rank];
      }
      if (best < 0) return parts;
      parts.splice(best, 2, parts[best]! + parts[best + 1]!);
    }
  };

  return {
    vocabSize: texts.size,
    encode: (text) => {
      const utf8 = new TextEncoder();
      return (text.match(word) ?? []).flatMap((piece) => encodeWord(utf8.encode(piece)).map((part) => ids.get(part)!));
    },
    decode: (tokens) => {
      const kept = tokens.filter((token) => !special.has(token)).map((token) => texts.get(token) ?? "");
      const bytes = Uint8Array.from(kept.join(""), (character) => byteOfCharacter.get(character) ?? 0x3f);
      return new TextDecoder("utf-8", { fatal: false, ignoreBOM: true }).decode(bytes);
    },
  };
}
