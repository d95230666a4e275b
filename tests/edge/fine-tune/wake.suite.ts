import { describe, expect, test } from "vitest";
import { isOverdue, wakeMilliseconds } from "../../../edge/fine-tune/wake.ts";

const minute = 60_000;

/** Seconds after its start at which a job is asked after, whose GPU worker speaks every so often. */
function asked(lasts: number, speaksEvery: number): number[] {
  const createdAt = new Date(0);
  const found: number[] = [];
  for (let now = wakeMilliseconds; now <= lasts; now += wakeMilliseconds) {
    const updatedAt = new Date(now - (now % speaksEvery));
    if (isOverdue({ createdAt, updatedAt }, new Date(now))) found.push(now / 1000);
  }
  return found;
}

describe("a job of which nothing is heard", () => {
  test("is asked after within half a minute, then ever more seldom, and goes on being asked after", () => {
    const times = asked(24 * 60 * minute, 48 * 60 * minute);
    expect(times[0]).toBeLessThanOrEqual(30);
    expect(times[1]).toBeLessThanOrEqual(60);
    expect(times.length).toBeLessThan(20);
    expect(times.at(-1)).toBeGreaterThan(6 * 3600);
    const gaps = times.slice(1).map((time, i) => time - (times[i] ?? time));
    expect(gaps.slice(3)).toEqual(gaps.slice(3).sort((a, b) => a - b));
  });

  test("that speaks is left alone", () => {
    expect(asked(60 * minute, wakeMilliseconds)).toEqual([]);
    // An old job may take its time between two signs of life.
    expect(asked(60 * minute, minute).every((time) => time < 20 * 60)).toBe(true);
  });

  test.each([0.5, 1, 5, 30, 120])("takes few of a Workflow's steps where it speaks every %d minutes", (minutes) => {
    expect(asked(3 * 24 * 60 * minute, minutes * minute).length).toBeLessThan(150);
  });
});
