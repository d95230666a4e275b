// Images from outside: whatever they hold, the answer is a caption or a typed refusal.
import { beforeAll, describe, expect, test } from "vitest";
import { CaptionerError, createCaptioner, type Captioner } from "../../captioner/index.ts";
import { createNodeRuntime } from "../../captioner/runtime-node.ts";
import { goldens, picture, versionAt } from "./fixtures.ts";

const version = versionAt("tests/fixtures/tiny-version");
const refusals = ["IMAGE_TYPE_UNSUPPORTED", "IMAGE_TOO_LARGE", "IMAGE_TOO_MANY_PIXELS", "IMAGE_UNREADABLE"];

/** Numbers from 0 to 1, the same in every run. */
function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("hostile images", () => {
  let captioner: Captioner;
  beforeAll(async () => {
    captioner = createCaptioner({ runtime: await createNodeRuntime(), memoryBudgetBytes: 72_000_000 });
  });

  async function outcome(image: Uint8Array): Promise<string> {
    try {
      const { pixels } = await captioner.preprocess(image, version);
      return pixels.length === 3 * goldens.side ** 2 ? "read" : "wrong size";
    } catch (error) {
      return error instanceof CaptionerError ? error.code : String(error);
    }
  }

  const samples = ["rgba.png", "palette.png", "progressive.jpg", "baseline.jpg", "lossless-alpha.webp"];

  test.each(samples)("%s cut off anywhere", async (name) => {
    const whole = picture(name);
    for (let share = 0; share < 40; share++) {
      const cut = whole.subarray(0, Math.floor((whole.length * share) / 40));
      expect(["read", ...refusals]).toContain(await outcome(cut));
    }
  });

  test.each(samples)("%s with flipped bytes", async (name) => {
    const random = seeded(name.length);
    for (let round = 0; round < 80; round++) {
      const image = picture(name);
      for (let flips = 0; flips < 1 + round / 10; flips++) {
        image[Math.floor(random() * image.length)] = Math.floor(random() * 256);
      }
      expect(["read", ...refusals]).toContain(await outcome(image));
    }
  });

  test("noise, text and other formats are of no type that is read", async () => {
    const random = seeded(3);
    const noise = Uint8Array.from({ length: 500 }, () => Math.floor(random() * 256));
    const texts = ["", "GIF89a", "BM", "<svg/>", "%PDF-1.7", "RIFF....WAVE"].map((text) =>
      new TextEncoder().encode(text),
    );
    for (const image of [noise, ...texts]) expect(await outcome(image)).toBe("IMAGE_TYPE_UNSUPPORTED");
  });

  test("sizes that a header only claims are refused before a pixel is decoded", async () => {
    const bomb = picture("rgb-32x32.png");
    const view = new DataView(bomb.buffer);
    view.setUint32(16, 60_000);
    view.setUint32(20, 60_000);
    expect(await outcome(bomb)).toBe("IMAGE_TOO_MANY_PIXELS");
    view.setUint32(16, 0);
    expect(refusals).toContain(await outcome(bomb));
    const jpeg = picture("baseline.jpg");
    const frame = jpeg.findIndex((byte, i) => byte === 0xff && jpeg[i + 1] === 0xc0);
    new DataView(jpeg.buffer).setUint32(frame + 5, 0xffff_ffff);
    expect(await outcome(jpeg)).toBe("IMAGE_TOO_MANY_PIXELS");
  });

  test("more bytes than an image may have are refused unread", async () => {
    const large = new Uint8Array(10_000_001);
    large.set(picture("baseline.jpg"));
    expect(await outcome(large)).toBe("IMAGE_TOO_LARGE");
  });
});
