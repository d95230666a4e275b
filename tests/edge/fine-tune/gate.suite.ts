import { describe, expect, test } from "vitest";
import { jobStatuses, jobTransitions, type JobStatus } from "../../../db/value-lists.ts";
import type { Evaluation } from "../../../edge/contract/trainer.ts";
import { heldOutImages, shortages } from "../../../edge/fine-tune/data-set.ts";
import { judge } from "../../../edge/fine-tune/gate.ts";
import { good } from "./loop.ts";

describe("the gate", () => {
  test("lets a version pass that keeps to every limit", () => {
    expect(judge(good)).toEqual({ verdict: "passed", reasons: [] });
  });

  const within: [string, Partial<Evaluation>][] = [
    ["log ratio at its limit", { log_ratio: -1.5 }],
    ["repetition up by two points", { repetition: { before: 0.25, after: 0.27 } }],
    ["captions shorter by half", { mean_length: { before: 10, after: 5 } }],
    ["the score down by a little", { evaluator_score: { before: 0.3, after: 0.26 } }],
  ];
  test.each(within)("passes: %s", (_, change) => {
    expect(judge({ ...good, ...change }).verdict).toBe("passed");
  });

  const beyond: [string, Partial<Evaluation>, RegExp][] = [
    ["captions improbable to the base", { log_ratio: -2.4 }, /improbable/],
    ["approval that falls", { predicted_approval: { before: 0.5, after: 0.4 } }, /approval/],
    ["approval that stays", { predicted_approval: { before: 0.5, after: 0.5 } }, /approval/],
    ["repetition", { repetition: { before: 0, after: 0.03 } }, /repeat/],
    ["captions that break off", { ends_on_function_word: { before: 0, after: 0.03 } }, /break off/],
    ["captions far too short", { mean_length: { before: 10, after: 3 } }, /length/],
    ["captions far too long", { mean_length: { before: 10, after: 17 } }, /length/],
    ["an evaluator that turns away", { evaluator_score: { before: 0.8, after: 0.7 } }, /score/],
  ];
  test.each(beyond)("rejects: %s", (_, change, reason) => {
    const { verdict, reasons } = judge({ ...good, ...change });
    expect(verdict).toBe("rejected");
    expect(reasons).toHaveLength(1);
    expect(reasons[0]).toMatch(reason);
  });

  test("names every limit that is broken", () => {
    const all = Object.assign({}, good, ...beyond.map(([, change]) => change)) as Evaluation;
    expect(judge(all).reasons).toHaveLength(6);
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

  test("whatever runs on the GPU worker can be cancelled and can fail; what is verified cannot be cancelled", () => {
    for (const status of ["validating", "queued", "training", "evaluating", "exporting"] as const) {
      expect(jobTransitions[status]).toEqual(expect.arrayContaining(["cancelling", "failed"]));
    }
    expect(jobTransitions.verifying).toEqual(["succeeded", "rejected", "failed"]);
    expect(jobTransitions.cancelling).toEqual(["cancelled"]);
  });
});
