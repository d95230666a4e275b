import { beforeAll, describe, expect, test } from "vitest";
import type { Feedback } from "../../edge/contract/feedback.ts";
import { ask, call, captionProbe, makeKey, makeTenant, publishBase, refused, type TestTenant } from "./harness.ts";

interface List<Item> {
  data: Item[];
  next_cursor: string | null;
}

describe("feedback", () => {
  let tenant: TestTenant;
  let key: string;
  let caption: { id: string; version: string };
  let path: string;
  beforeAll(async () => {
    await publishBase();
    tenant = await makeTenant();
    key = tenant.key;
    caption = await captionProbe(key);
    path = `/v1/captions/${caption.id}/feedback`;
  });

  test("a thumb is kept with all that was said", async () => {
    const json = {
      rating: "down",
      correction: "  a red ball  ",
      end_user: "viewer 1",
      reasons: ["wrong", "too_long", "wrong"],
      comment: "there is no dog",
    };
    const stored = await ask<Feedback>(201, "POST", path, { key, json });
    expect(stored).toMatchObject({
      caption_id: caption.id,
      version: caption.version,
      rating: "down",
      correction: "a red ball",
      end_user: "viewer 1",
      reasons: ["wrong", "too_long"],
      comment: "there is no dog",
    });
  });

  test("a viewer's second thumb replaces the first and keeps its id", async () => {
    const first = await ask<Feedback>(201, "POST", path, {
      key,
      json: { rating: "down", end_user: "v", correction: "x" },
    });
    const second = await ask<Feedback>(200, "POST", path, { key, json: { rating: "up", end_user: "v" } });
    expect(second).toMatchObject({ id: first.id, rating: "up", correction: null, created_at: first.created_at });
    const { data } = await ask<List<Feedback>>(200, "GET", "/v1/feedback?rating=up", { key });
    expect(data.filter(({ end_user }) => end_user === "v")).toHaveLength(1);
  });

  test("the viewer without a name is one viewer per caption", async () => {
    const first = await ask<Feedback>(201, "POST", path, { key, json: { rating: "up" } });
    const second = await ask<Feedback>(200, "POST", path, { key, json: { rating: "down" } });
    expect(second).toMatchObject({ id: first.id, end_user: null });
  });

  test("of ten thumbs at once by one viewer one is kept, and one was the first", async () => {
    const { id } = await captionProbe(key);
    const answers = await Promise.all(
      Array.from({ length: 10 }, async (_, i) => {
        const json = { rating: i % 2 ? "up" : "down", end_user: "racer" };
        return (await call("POST", `/v1/captions/${id}/feedback`, { key, json })).status;
      }),
    );
    expect(answers.toSorted((a, b) => a - b)).toEqual([...Array<number>(9).fill(200), 201]);
  });

  test("the list filters by thumb and by version, page by page", async () => {
    const { key: own } = await makeTenant();
    const { id, version } = await captionProbe(own);
    const made: string[] = [];
    for (let i = 0; i < 5; i++) {
      const json = { rating: i < 3 ? "up" : "down", end_user: `viewer ${i}` };
      made.push((await ask<Feedback>(201, "POST", `/v1/captions/${id}/feedback`, { key: own, json })).id);
    }
    const ups = await ask<List<Feedback>>(200, "GET", `/v1/feedback?rating=up&version=${version}&limit=2`, {
      key: own,
    });
    expect(ups.data.map((item) => item.id)).toEqual([made[2], made[1]]);
    const rest = `/v1/feedback?rating=up&version=${version}&limit=2&cursor=${ups.next_cursor}`;
    expect((await ask<List<Feedback>>(200, "GET", rest, { key: own })).data.map((item) => item.id)).toEqual([made[0]]);
    const none = "/v1/feedback?version=ver_000000000000000000000000";
    expect((await ask<List<Feedback>>(200, "GET", none, { key: own })).data).toEqual([]);
    await refused("INVALID_REQUEST", "GET", "/v1/feedback?rating=sideways", { key: own });
    await refused("UNAUTHENTICATED", "GET", "/v1/feedback");
  });

  test("a browser's key may rate and may read nothing", async () => {
    const browser = await makeKey(tenant.id, "feedback:write");
    await ask(201, "POST", path, { key: browser, json: { rating: "up", end_user: "in a browser" } });
    await refused("SCOPE_MISSING", "GET", "/v1/feedback", { key: browser });
    await refused("SCOPE_MISSING", "POST", path, {
      key: await makeKey(tenant.id, "captions:write", "jobs:write"),
      json: { rating: "up" },
    });
    await refused("UNAUTHENTICATED", "POST", path, { json: { rating: "up" } });
  });

  test("a thumb on a caption that was never served is refused", async () => {
    for (const id of ["cap_01kawz0v9n8x5q2m7c4r1t6b3d", "nothing", "%00", "a".repeat(500)]) {
      await refused("CAPTION_NOT_FOUND", "POST", `/v1/captions/${id}/feedback`, { key, json: { rating: "up" } });
    }
  });

  const faults: [string, unknown, string][] = [
    ["no rating", {}, "/rating"],
    ["a rating of another kind", { rating: "sideways" }, "/rating"],
    ["a rating that is a number", { rating: 1 }, "/rating"],
    ["an empty correction", { rating: "up", correction: "  " }, "/correction"],
    ["a long correction", { rating: "up", correction: "x".repeat(513) }, "/correction"],
    ["a viewer with too long a name", { rating: "up", end_user: "x".repeat(257) }, "/end_user"],
    ["a reason that is none", { rating: "up", reasons: ["because"] }, "/reasons/0"],
    ["a field that is none", { rating: "up", mood: "fine" }, "/mood"],
    ["a list", [], ""],
    ["a text", "up", ""],
    ["null", null, ""],
  ];
  test.each(faults)("%s is refused with a pointer to it", async (_, json, pointer) => {
    const problem = await refused("INVALID_REQUEST", "POST", path, { key, json });
    expect(problem.errors.map((item) => item.pointer)).toContain(pointer);
  });

  test("what is not JSON, or too much of it, is refused", async () => {
    const type = (value: string) => ({ headers: { "content-type": value } });
    await refused("INVALID_JSON", "POST", path, { key, body: "{", ...type("application/json") });
    await refused("UNSUPPORTED_MEDIA_TYPE", "POST", path, { key, body: "rating=up", ...type("text/plain") });
    await refused("BODY_TOO_LARGE", "POST", path, { key, json: { rating: "up", comment: "x".repeat(1_000_000) } });
  });
});
