/// <reference types="vite/types/importMeta.d.ts" />
// Every *.suite.ts in one isolate, so that the last test can look back on all answers.
import { describe, expect, test } from "vitest";
import { promised, seen } from "./description.ts";

import.meta.glob("./**/*.suite.ts", { eager: true });

describe("openapi.yaml", () => {
  test("every status that it promises was seen", () => {
    expect(promised.filter((answer) => !seen.has(answer))).toEqual([]);
  });
});
