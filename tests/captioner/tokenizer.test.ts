import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createTokenizer, tokenizerFileSchema } from "../../captioner/tokenizer.ts";
import { goldens } from "./fixtures.ts";

describe.each(Object.entries(goldens.texts))("the tokenizer of %s", (folder, { decoded, encoded }) => {
  const file = tokenizerFileSchema.parse(JSON.parse(readFileSync(`${folder}/tokenizer.json`, "utf8")));
  const tokenizer = createTokenizer(file);

  test("spells every token and a hundred random sequences as Hugging Face's does", () => {
    for (const [tokens, text] of decoded) expect(tokenizer.decode(tokens)).toBe(text);
  });

  test("encodes as Hugging Face's does", () => {
    const plain = encoded.filter(([text]) => !text.includes("<"));
    for (const [text, tokens] of plain) expect(tokenizer.encode(text)).toEqual(tokens);
  });

  test("refuses a vocabulary that lacks a byte or a merge's result", () => {
    const { vocab, merges } = file.model;
    const first = merges[0]?.join("") ?? "";
    for (const name of ["a", first]) {
      const rest = Object.fromEntries(Object.entries(vocab).filter(([text]) => text !== name));
      expect(() => createTokenizer({ ...file, model: { ...file.model, vocab: rest } })).toThrow(/lacks/);
    }
  });
});
