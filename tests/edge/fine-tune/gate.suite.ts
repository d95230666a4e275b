import { describe, expect, test } from "vitest";
import { jobStatuses, jobTransitions, type JobStatus } from "../../../db/value-lists.ts";
import type { Evaluation } from "../../../edge/contract/trainer.ts";
import { heldOutImages, shortages } from "../../../edge/fine-tune/data-set.ts";
import { judge } from "../../../edge/fine-tune/gate.ts";
import { good } from "./loop.ts";

const change = (before: number, after: number) => ({ before, after });
const gain = (low: number, high: number) => ({ approval_gain: { low, high } });

describe("the gate", () => {
  const names = [
    "log_ratio",
    "predicted_approval",
    "repetition",
    "ends_on_function_word",
    "mean_length",
    "evaluator_score",
    "distinct",
    "kl",
  ];

  test("lets a version pass that keeps to every limit, and lists every check", () => {
    const { verdict, reasons, checks } = judge(good);
    expect({ verdict, reasons }).toEqual({ verdict: "passed", reasons: [] });
    expect(checks.map(({ name }) => name)).toEqual(names);
    for (const { sentence, limit, passed } of checks) {
      expect(passed).toBe(true);
      expect(limit).toMatch(/^(at least|at most|above|between) -?[\d.]+/);
      expect(sentence).toMatch(/^[A-Z].*\.$/);
    }
  });

  /** By check: the last figure that it lets pass, the first that it does not, and its limit for people. */
  const edges: [string, Partial<Evaluation>, Partial<Evaluation>, string][] = [
    ["log_ratio", { log_ratio: -1.5 }, { log_ratio: -1.501 }, "at least -1.5"],
    ["predicted_approval", gain(0.001, 0.4), gain(0, 0.4), "above 0"],
    ["repetition", { repetition: change(0.25, 0.27) }, { repetition: change(0.25, 0.271) }, "at most 0.27"],
    [
      "ends_on_function_word",
      { ends_on_function_word: change(0, 0.02) },
      { ends_on_function_word: change(0, 0.021) },
      "at most 0.02",
    ],
    ["mean_length", { mean_length: change(10, 4) }, { mean_length: change(10, 3.9) }, "between 4 and 16"],
    ["mean_length", { mean_length: change(10, 16) }, { mean_length: change(10, 16.1) }, "between 4 and 16"],
    // The absolute fall allows more here, the relative one there.
    [
      "evaluator_score",
      { evaluator_score: change(0.3, 0.25) },
      { evaluator_score: change(0.3, 0.249) },
      "at least 0.25",
    ],
    ["evaluator_score", { evaluator_score: change(1, 0.9) }, { evaluator_score: change(1, 0.899) }, "at least 0.9"],
    ["distinct", { distinct: change(0.8, 0.48) }, { distinct: change(0.8, 0.47) }, "at least 0.48"],
    ["kl", { kl: 12 }, { kl: 12.01 }, "at most 12"],
  ];
  test("one caption of few kept back decides nothing, two do", () => {
    const few = { ...good, examples: { ...good.examples, held_out: 60, held_out_images: 40 } };
    const ending = (broken: number) => judge({ ...few, ends_on_function_word: change(0, broken / 40) });
    expect(ending(1).verdict).toBe("passed");
    expect(ending(2)).toMatchObject({ verdict: "rejected", reasons: [expect.stringContaining("break off")] });
    expect(judge({ ...few, repetition: change(0.1, 0.1 + 1 / 40) }).verdict).toBe("passed");
    expect(judge({ ...few, repetition: change(0.1, 0.1 + 2 / 40) }).verdict).toBe("rejected");
  });

  test("captions may become as short or as long as what viewers liked allows", () => {
    const length = (after: number, liked: number) =>
      judge({ ...good, mean_length: change(10, after), liked_length: liked }).checks.find(
        ({ name }) => name === "mean_length",
      );
    expect(length(3, 7)).toMatchObject({ passed: true, limit: "between 2.8 and 16" });
    expect(length(3, 10)).toMatchObject({ passed: false, limit: "between 4 and 16" });
    expect(length(18, 12)).toMatchObject({ passed: true, limit: "between 4 and 19.2" });
  });

  test.each(edges)("%s: passes at its limit, is the one reason beyond it", (name, within, beyond, limit) => {
    expect(judge({ ...good, ...within }).verdict).toBe("passed");
    const { verdict, reasons, checks } = judge({ ...good, ...beyond });
    expect(verdict).toBe("rejected");
    const broken = checks.filter(({ passed }) => !passed);
    expect(broken).toMatchObject([{ name, limit }]);
    expect(reasons).toEqual(broken.map(({ sentence }) => sentence));
  });

  test("every check speaks otherwise when it fails", () => {
    const all = Object.assign({}, good, ...edges.map(([, , beyond]) => beyond)) as Evaluation;
    const { checks, reasons } = judge(all);
    expect(reasons).toHaveLength(names.length);
    const alike = judge(good).checks.filter(({ sentence }, i) => sentence === checks[i]?.sentence);
    expect(alike).toEqual([]);
  });

  test("a gain that may be chance is refused, and another sentence than none at all says so", () => {
    const sentenceOf = (measured: Partial<Evaluation>) => {
      const { verdict, checks } = judge({ ...good, ...measured });
      return `${verdict}: ${checks.find(({ name }) => name === "predicted_approval")?.sentence}`;
    };
    expect(sentenceOf({})).toMatch(/^passed: .*60\.0 %.* instead of 30\.0 %.* between 10\.0 and 50\.0 points/);
    expect(sentenceOf(gain(-0.05, 0.4))).toMatch(/^rejected: .*may be chance.* between -5\.0 and 40\.0 points/);
    expect(sentenceOf({ predicted_approval: change(0.5, 0.5), ...gain(-0.1, 0.1) })).toMatch(/^rejected: Not even/);
  });
});

describe("held-out images", () => {
  const digests = Array.from({ length: 1000 }, (_, i) =>
    ((i * 2654435761) >>> 0).toString(16).padStart(8, "0").padEnd(64, "0"),
  );

  test("are a fifth, whatever the order, and stay held out as more come", () => {
    const held = heldOutImages(digests);
    expect(held.size).toBeGreaterThan(150);
    expect(held.size).toBeLessThan(250);
    expect(heldOutImages(digests.toReversed())).toEqual(held);
    const half = heldOutImages(digests.slice(0, 500));
    for (const digest of half) expect(held).toContain(digest);
  });

  test("are never none and never all", () => {
    const high = Array.from({ length: 20 }, (_, i) => `ff${i.toString(16).padStart(62, "0")}`);
    const low = high.map((digest) => `00${digest.slice(2)}`);
    expect(heldOutImages(high).size).toBe(2);
    expect(heldOutImages(low).size).toBe(19);
  });

  test("what a job needs is counted", () => {
    expect(shortages({ images: 20, up: 3, down: 3 })).toEqual([]);
    expect(shortages({ images: 19, up: 2, down: 0 })).toHaveLength(3);
  });
});

describe("a job's states", () => {
  test("every state is reached, none is entered twice, ends are ends", () => {
    const reached = new Set<JobStatus>(["validating", ...Object.values(jobTransitions).flat()]);
    expect([...reached].sort()).toEqual([...jobStatuses].sort());
    const visit = (status: JobStatus, path: JobStatus[]): void => {
      expect(path).not.toContain(status);
      for (const next of jobTransitions[status]) visit(next, [...path, status]);
    };
    visit("validating", []);
    const ends = jobStatuses.filter((status) => jobTransitions[status].length === 0);
    expect(ends).toEqual(["succeeded", "rejected", "cancelled", "failed"]);
  });

  test("whatever runs on the GPU worker can be rejected, cancelled and can fail; what is verified cannot be cancelled", () => {
    for (const status of ["validating", "queued", "training", "evaluating", "exporting"] as const) {
      expect(jobTransitions[status]).toEqual(expect.arrayContaining(["rejected", "cancelling", "failed"]));
    }
    expect(jobTransitions.verifying).toEqual(["succeeded", "rejected", "failed"]);
    expect(jobTransitions.cancelling).toEqual(["cancelled"]);
  });
});
