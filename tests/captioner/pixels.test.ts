// The same bytes give the same pixels as in training.
import { createHash } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { createCaptioner, type Captioner } from "../../captioner/index.ts";
import { createNodeRuntime } from "../../captioner/runtime-node.ts";
import { goldens, picture, versionAt } from "./fixtures.ts";

describe("an image's pixels", () => {
  let captioner: Captioner;
  const version = versionAt("tests/fixtures/tiny-version");
  beforeAll(async () => {
    captioner = createCaptioner({ runtime: await createNodeRuntime(), memoryBudgetBytes: 72_000_000 });
  });

  const exact = goldens.images.filter(({ file }) => !file.endsWith(".jpg"));
  test.each(exact.map((golden) => [golden.file, golden] as const))(
    "%s: bit for bit as in Python",
    async (file, golden) => {
      const { pixels, pixelValues } = await captioner.preprocess(picture(file), version);
      expect(Buffer.from(pixels).toString("base64")).toBe(golden.pixels);
      expect(createHash("sha256").update(new Uint8Array(pixelValues.buffer)).digest("hex")).toBe(golden.values_sha256);
    },
  );

  const lossy = goldens.images.filter(({ file }) => file.endsWith(".jpg"));
  test.each(lossy.map((golden) => [golden.file, golden] as const))(
    "%s: within what JPEG decoders differ by",
    async (file, golden) => {
      const { pixels } = await captioner.preprocess(picture(file), version);
      const expected = Buffer.from(golden.pixels, "base64");
      const differences = Array.from(pixels, (value, i) => Math.abs(value - (expected[i] ?? 0)));
      expect(Math.max(...differences)).toBeLessThanOrEqual(3);
      expect(differences.reduce((sum, value) => sum + value, 0) / differences.length).toBeLessThan(0.5);
    },
  );

  test.each(goldens.images.map((golden) => [golden.file, golden] as const).filter(([file]) => !file.endsWith(".jpg")))(
    "%s: the caption's tokens are PyTorch's",
    async (file, golden) => {
      const { candidates } = await captioner.caption(picture(file), version);
      const eos = 1;
      expect(candidates[0]?.tokens.filter((token) => token !== eos)).toEqual(
        golden.tokens.filter((token) => token !== eos),
      );
    },
  );
});
