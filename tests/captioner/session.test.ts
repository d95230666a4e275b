// Open models: shared by digest, within a budget, never of unverified bytes.
import { beforeAll, describe, expect, test } from "vitest";
import { CaptionerError, createCaptioner } from "../../captioner/index.ts";
import { createNodeRuntime } from "../../captioner/runtime-node.ts";
import type { Runtime } from "../../captioner/runtime.ts";
import { versionAt, picture } from "./fixtures.ts";

const folder = "tests/fixtures/tiny-version";
const image = picture("rgb-64x64.png");

function sizeOf(version: ReturnType<typeof versionAt>, ...paths: string[]): number {
  return version.manifest.files.filter(({ path }) => paths.includes(path)).reduce((sum, { size }) => sum + size, 0);
}
const encoder = "onnx/encoder_model.onnx";
const decoder = "onnx/decoder_model_merged.onnx";

describe("sessions", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await createNodeRuntime();
  });

  async function codeOf(work: Promise<unknown>): Promise<string> {
    const error = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    return error instanceof CaptionerError ? error.code : String(error);
  }

  test("a version's own probe image gets the caption that its manifest promises", async () => {
    for (const name of [folder, "tests/fixtures/tiny-version-2", "models/scenes-base"]) {
      const version = versionAt(name);
      const { probe } = version.manifest;
      const captioner = createCaptioner({ runtime, memoryBudgetBytes: 72_000_000 });
      const bytes = new Uint8Array(await version.read(probe.image));
      const options = { numBeams: probe.num_beams, maxNewTokens: probe.max_new_tokens };
      const { candidates } = await captioner.caption(bytes, version, options);
      expect(candidates[0]?.tokens).toEqual(probe.expected_tokens);
      expect(candidates[0]?.caption).toBe(probe.expected_caption);
    }
  });

  test("versions that share a file share its session; callers at once open it once", async () => {
    const [one, two] = [versionAt(folder), versionAt("tests/fixtures/tiny-version-2")];
    const captioner = createCaptioner({ runtime, memoryBudgetBytes: 72_000_000 });
    const both = [one, two, one, two].map((version) => captioner.caption(image, version));
    const results = await Promise.all(both);
    expect(results[0]?.candidates).toEqual(results[2]?.candidates);
    expect(results[1]?.candidates).toEqual(results[3]?.candidates);
    // One encoder and two decoders.
    expect(captioner.stats()).toMatchObject({ sessions: 3, loads: 3, evictions: 0 });
  });

  test("the least recently used session goes when the budget is full", async () => {
    const [one, two] = [versionAt(folder), versionAt("tests/fixtures/tiny-version-2")];
    const budget = 2 * sizeOf(one, encoder, decoder) + sizeOf(two, decoder);
    const captioner = createCaptioner({
      runtime,
      memoryBudgetBytes: budget,
      limits: { maxDecodeBytes: 72_000_000 },
    });
    const first = await captioner.caption(image, one);
    await captioner.caption(image, two);
    expect(captioner.stats()).toMatchObject({ sessions: 2, loads: 3, evictions: 1 });
    expect(captioner.stats().sessionBytes).toBeLessThanOrEqual(budget);
    expect((await captioner.caption(image, one)).candidates).toEqual(first.candidates);
    expect(captioner.stats()).toMatchObject({ sessions: 2, loads: 4, evictions: 2 });
  });

  test("a version that does not fit is refused", async () => {
    const version = versionAt(folder);
    const captioner = createCaptioner({ runtime, memoryBudgetBytes: 1000, limits: { maxDecodeBytes: 72_000_000 } });
    expect(await codeOf(captioner.caption(image, version))).toBe("MODEL_TOO_LARGE");
  });

  test.each(["config.json", "tokenizer.json", encoder, decoder])("altered bytes of %s are refused", async (path) => {
    const version = versionAt(folder);
    const read = async (asked: string): Promise<ArrayBuffer> => {
      const bytes = await version.read(asked);
      if (asked === path) new Uint8Array(bytes)[20] = 0x7e;
      return bytes;
    };
    const captioner = createCaptioner({ runtime, memoryBudgetBytes: 72_000_000 });
    expect(await codeOf(captioner.caption(image, { ...version, read }))).toBe("MODEL_FILE_MISMATCH");
    // The refusal is not remembered: with the right bytes it works.
    expect((await captioner.caption(image, version)).candidates).toHaveLength(1);
  });

  test("a manifest that lacks a file is refused", async () => {
    const version = versionAt(folder);
    const files = version.manifest.files.filter(({ path }) => path !== decoder);
    const captioner = createCaptioner({ runtime, memoryBudgetBytes: 72_000_000 });
    const lacking = { ...version, manifest: { ...version.manifest, files } };
    expect(await codeOf(captioner.caption(image, lacking))).toBe("MODEL_INVALID");
  });
});
