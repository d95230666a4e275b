import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { sha256Hex } from "../../captioner/digest.ts";
import type { Caption } from "../../edge/contract/captions.ts";
import type { Feedback } from "../../edge/contract/feedback.ts";
import {
  ask,
  call,
  captionProbe,
  makeKey,
  makeTenant,
  probe,
  publishBase,
  refused,
  versionFile,
  type TestTenant,
} from "./harness.ts";

interface List<Item> {
  data: Item[];
  has_more: boolean;
  next_cursor: string | null;
}

const png = { "content-type": "image/png" };
const manifest = JSON.parse(new TextDecoder().decode(versionFile(env.TEST_VERSION, "manifest.json"))) as {
  probe: { expected_caption: string };
};

function imageKeys(): Promise<string[]> {
  return env.OBJECTS.list({ prefix: "images/" }).then(({ objects }) => objects.map(({ key }) => key));
}

describe("captions", () => {
  let tenant: TestTenant;
  let key: string;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
  });

  test("an image sent as the body gets the caption its version was taught", async () => {
    const caption = await ask<Caption>(201, "POST", "/v1/captions", { key, body: probe, headers: png });
    expect(caption).toMatchObject({
      object: "caption",
      caption: manifest.probe.expected_caption,
      model: "scenes",
      image: { sha256: await sha256Hex(probe), media_type: "image/png", size_bytes: probe.byteLength },
    });
    expect(caption.candidates).toHaveLength(1);
    expect(await ask(200, "GET", `/v1/captions/${caption.id}`, { key })).toEqual(caption);
  });

  test("a caption is drawn at a temperature, and then neither n nor num_beams counts", async () => {
    const drawn = new Set<string>();
    for (let attempt = 0; attempt < 8; attempt++) {
      const path = "/v1/captions?temperature=2&max_tokens=12";
      const caption = await ask<Caption>(201, "POST", path, { key, body: probe, headers: png });
      expect(caption.candidates).toEqual([{ ...caption.candidates[0], caption: caption.caption }]);
      drawn.add(caption.caption);
    }
    expect(drawn.size).toBeGreaterThan(1);
    const cold = "/v1/captions?temperature=0";
    const best = await ask<Caption>(201, "POST", cold, { key, body: probe, headers: png });
    expect(best.caption).toBe(manifest.probe.expected_caption);
    for (const other of ["n=1", "num_beams=4"]) {
      const path = `/v1/captions?temperature=1&${other}`;
      const problem = await refused("INVALID_REQUEST", "POST", path, { key, body: probe, headers: png });
      expect(problem.errors).toMatchObject([{ pointer: "/temperature", code: "conflict" }]);
    }
    const again = "/v1/captions?temperature=2&max_tokens=12&seed=";
    const seeded = await Promise.all(
      ["7", "7", "8", "9", "10", "11"].map((seed) =>
        ask<Caption>(201, "POST", again + seed, { key, body: probe, headers: png }),
      ),
    );
    expect(seeded[1]?.caption).toBe(seeded[0]?.caption);
    expect(new Set(seeded.map(({ caption }) => caption)).size).toBeGreaterThan(1);
    const searched = await refused("INVALID_REQUEST", "POST", "/v1/captions?seed=7", {
      key,
      body: probe,
      headers: png,
    });
    expect(searched.errors).toMatchObject([{ pointer: "/seed", code: "conflict" }]);
    const json = { image: { data: "AAAA" }, temperature: 2.5 };
    const problem = await refused("INVALID_REQUEST", "POST", "/v1/captions", { key, json });
    expect(problem.errors).toMatchObject([{ pointer: "/temperature", code: "too_big" }]);
  });

  test("a form, base64, a data URL and an https address give the same caption", async () => {
    const form = new FormData();
    form.set("image", new File([probe], "probe.png", { type: "image/png" }));
    form.set("model", "scenes@production");
    form.set("n", "2");
    const answers = [await ask<Caption>(201, "POST", "/v1/captions", { key, body: form })];
    const data = probe.toBase64();
    for (const image of [
      { data },
      { data: `data:image/png;base64,${data}` },
      { url: "https://images.example.org/probe.png" },
      { url: "https://images.example.org/moved" },
    ]) {
      answers.push(await ask<Caption>(201, "POST", "/v1/captions", { key, json: { image } }));
    }
    expect(new Set(answers.map(({ caption }) => caption))).toEqual(new Set([manifest.probe.expected_caption]));
    expect(answers[0]?.candidates).toHaveLength(2);
  });

  test("candidates come best first, finished before cut short, as many as asked for", async () => {
    const path = "/v1/captions?n=4&num_beams=4&max_tokens=5";
    const { candidates, caption } = await ask<Caption>(201, "POST", path, { key, body: probe, headers: png });
    expect(candidates).toHaveLength(4);
    expect(candidates[0]?.caption).toBe(caption);
    const ranked = candidates.toSorted((a, b) => Number(b.finished) - Number(a.finished) || b.score - a.score);
    expect(candidates).toEqual(ranked);
    const problem = await refused("INVALID_REQUEST", "POST", "/v1/captions?n=3&num_beams=2", {
      key,
      body: probe,
      headers: png,
    });
    expect(problem.errors[0]?.pointer).toBe("/n");
  });

  test("one version can be asked for by its id; what is not there is not found", async () => {
    const { version } = await captionProbe(key);
    const path = `/v1/captions?model=${version}`;
    await ask(201, "POST", path, { key, body: probe, headers: png });
    for (const model of ["ver_000000000000000000000000", "nothing", "scenes@nowhere"]) {
      await refused("MODEL_NOT_FOUND", "POST", `/v1/captions?model=${model}`, { key, body: probe, headers: png });
    }
  });

  test("a version whose files are damaged is not served, and nothing is kept", async () => {
    const lost = await makeTenant();
    const { files } = JSON.parse(new TextDecoder().decode(versionFile(env.TEST_VERSION_2, "manifest.json"))) as {
      files: { path: string; sha256: string }[];
    };
    const version = await publishBase(env.TEST_VERSION_2);
    const decoder = files.find(({ path }) => path === "onnx/decoder_model_merged.onnx")?.sha256 ?? "none";
    const { objects } = await env.OBJECTS.list();
    const damaged = objects.find(({ key: name }) => name.endsWith(decoder))?.key ?? "";
    await env.OBJECTS.put(damaged, "not these bytes");
    const path = `/v1/captions?model=${version}`;
    await refused("MODEL_UNAVAILABLE", "POST", path, { key: lost.key, body: probe, headers: png });
    await env.OBJECTS.put(damaged, versionFile(env.TEST_VERSION_2, "onnx/decoder_model_merged.onnx"));
    expect(await ask<List<Caption>>(200, "GET", "/v1/captions", { key: lost.key })).toMatchObject({ data: [] });
    expect((await imageKeys()).filter((name) => name.includes(lost.id))).toEqual([]);
  });

  test("when the image cannot be stored, neither is its caption", async () => {
    const own = await makeTenant();
    const put = vi.spyOn(env.OBJECTS, "put").mockRejectedValueOnce(new Error("the store is down"));
    await refused("STORE_UNAVAILABLE", "POST", "/v1/captions", { key: own.key, body: probe, headers: png });
    put.mockRestore();
    expect(await ask<List<Caption>>(200, "GET", "/v1/captions", { key: own.key })).toMatchObject({ data: [] });
  });

  test("the list runs from new to old and can be filtered by version", async () => {
    const { key: own } = await makeTenant();
    const made = [];
    for (let i = 0; i < 3; i++) made.push((await captionProbe(own)).id);
    const first = await ask<List<Caption>>(200, "GET", "/v1/captions?limit=2", { key: own });
    expect(first.data.map(({ id }) => id)).toEqual([made[2], made[1]]);
    const rest = await ask<List<Caption>>(200, "GET", `/v1/captions?limit=2&cursor=${first.next_cursor}`, { key: own });
    expect(rest).toMatchObject({ has_more: false, next_cursor: null });
    expect(rest.data.map(({ id }) => id)).toEqual([made[0]]);
    const version = first.data[0]?.version;
    const served = await ask<List<Caption>>(200, "GET", `/v1/captions?version=${version}`, { key: own });
    expect(served.data).toHaveLength(3);
    const none = "ver_000000000000000000000000";
    expect(await ask(200, "GET", `/v1/captions?version=${none}`, { key: own })).toMatchObject({ data: [] });
    await refused("INVALID_REQUEST", "GET", "/v1/captions?version=scenes", { key: own });
  });

  test("an image is stored once per tenant and goes with its last caption", async () => {
    const own = await makeTenant();
    const [first, second] = [await captionProbe(own.key), await captionProbe(own.key)];
    const mine = async (): Promise<string[]> => (await imageKeys()).filter((name) => name.includes(own.id));
    expect(await mine()).toHaveLength(1);
    const deletion = await ask(200, "DELETE", `/v1/captions/${first.id}`, { key: own.key });
    expect(deletion).toEqual({ object: "caption", id: first.id, deleted: true });
    expect(await mine()).toHaveLength(1);
    await ask(200, "DELETE", `/v1/captions/${second.id}`, { key: own.key });
    expect(await mine()).toHaveLength(0);
    await refused("CAPTION_NOT_FOUND", "DELETE", `/v1/captions/${second.id}`, { key: own.key });
    await refused("CAPTION_NOT_FOUND", "GET", `/v1/captions/${second.id}`, { key: own.key });
  });

  test("a deleted caption takes its feedback along", async () => {
    const { key: own } = await makeTenant();
    const { id } = await captionProbe(own);
    await ask(201, "POST", `/v1/captions/${id}/feedback`, { key: own, json: { rating: "up" } });
    await ask(200, "DELETE", `/v1/captions/${id}`, { key: own });
    expect((await ask<List<Feedback>>(200, "GET", "/v1/feedback", { key: own })).data).toEqual([]);
  });

  test("twenty requests at once each get their caption", async () => {
    const { key: own } = await makeTenant();
    const answers = await Promise.all(Array.from({ length: 20 }, () => captionProbe(own)));
    expect(new Set(answers.map(({ id }) => id)).size).toBe(20);
    expect(new Set(answers.map(({ caption }) => caption)).size).toBe(1);
  });

  test("a key without the scope, or no key, gets nothing", async () => {
    const browser = await makeKey(tenant.id, "feedback:write", "models:read");
    const { id } = await captionProbe(key);
    for (const [method, path] of [
      ["POST", "/v1/captions"],
      ["GET", "/v1/captions"],
      ["GET", `/v1/captions/${id}`],
      ["DELETE", `/v1/captions/${id}`],
    ] as const) {
      const body = method === "POST" ? { body: probe, headers: png } : {};
      await refused("SCOPE_MISSING", method, path, { key: browser, ...body });
      await refused("UNAUTHENTICATED", method, path, body);
    }
    expect((await call("GET", "/v1/captions")).headers.get("www-authenticate")).toMatch(/^Bearer/);
  });
});
