// In workerd as in Node and in PyTorch: the same pixels, the same tokens.
import { env } from "cloudflare:workers";
import { expect, test } from "vitest";
import { createCaptioner } from "../../../captioner/index.ts";
import { parseManifest } from "../../../captioner/manifest.ts";
import { createWorkerdRuntime } from "../../../captioner/runtime-workerd.ts";
import { versionFile } from "../../edge/harness.ts";

test("every picture has the pixels and the tokens that the Python side gives it", async () => {
  const captioner = createCaptioner({ runtime: createWorkerdRuntime(), memoryBudgetBytes: 72_000_000 });
  const version = {
    ...(await parseManifest(versionFile(env.TEST_VERSION, "manifest.json"))),
    read: (path: string) => Promise.resolve(versionFile(env.TEST_VERSION, path).buffer),
  };
  const eos = 1;
  const exact = env.TEST_GOLDENS.images.filter(({ file }) => !file.endsWith(".jpg"));
  expect(exact.length).toBeGreaterThan(20);
  for (const { file, pixels, tokens } of exact) {
    const image = Uint8Array.fromBase64(env.TEST_PICTURES[file] ?? "");
    const prepared = await captioner.preprocess(image, version);
    expect(prepared.pixels.toBase64(), file).toBe(pixels);
    const [best] = (await captioner.caption(image, version)).candidates;
    expect(
      best?.tokens.filter((token) => token !== eos),
      file,
    ).toEqual(tokens.filter((token) => token !== eos));
  }
});
