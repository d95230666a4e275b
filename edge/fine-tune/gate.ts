// The gate: whether what a job measured on held-out images lets its version be served.
import type { Gate, GateCheck } from "../contract/jobs.ts";
import type { Evaluation } from "../contract/trainer.ts";

/** A limit that a version must keep. */
interface Rule {
  name: string;
  /** What is measured, what it is held to in the same unit, and how it reads to people. */
  look: (measured: Evaluation) => Omit<GateCheck, "name">;
}

/** The bands in which figures may move; method.md section 9 found which of them tell good from hacked. */
export const limits = {
  /** Nats: likelier captions of a hacked policy are improbable to the base. */
  leastLogRatio: -1.5,
  mostRepetitionRise: 0.02,
  mostFunctionWordRise: 0.02,
  leastLengthRatio: 0.4,
  mostLengthRatio: 1.6,
  /** Of its value before, or absolute, whichever allows more. */
  mostScoreFall: { relative: 0.1, absolute: 0.05 },
  leastDistinctRatio: 0.6,
  /** Nats per caption. */
  mostKl: 12,
} as const;

/** How far a share may rise: one caption alone decides nothing where few were kept back. */
const allowedRise = (most: number, { examples }: Evaluation): number =>
  Math.max(most, 1 / Math.max(examples.held_out_images, 1));

// Shares are differences of floats: .27 - .25 is a little over .02.
const rounding = 1e-9;

const rules: readonly Rule[] = [
  {
    name: "log_ratio",
    look: ({ log_ratio }) => {
      const passed = log_ratio >= limits.leastLogRatio;
      const how = passed
        ? "read about as natural to the base model as its own"
        : "are too improbable to the base model, like captions that please the judges and not people";
      return {
        figure: log_ratio,
        limit: `at least ${limits.leastLogRatio}`,
        passed,
        sentence: `On the images kept back, the new captions ${how} (${log_ratio.toFixed(2)} nats a caption).`,
      };
    },
  },
  {
    name: "predicted_approval",
    // A rise that may be chance is none: it let versions pass that trained on the evaluator alone
    // and pleased less (docs/results/learning.md).
    look: ({ predicted_approval: { before, after }, approval_gain: { low, high }, examples }) => {
      const passed = after > before && low > 0;
      const change = `${percent(after)} of the captions instead of ${percent(before)}`;
      const range = `between ${points(low)} and ${points(high)} points`;
      const sentence = passed
        ? `What the thumbs taught says that viewers will like ${change}; the true gain lies ${range}.`
        : after > before
          ? `What the thumbs taught says that viewers will like ${change}, but on ${examples.held_out_images} images kept back this may be chance: the true change lies ${range}. Thumbs on more images would tell.`
          : `Not even by what the thumbs taught will viewers like more captions than before: predicted approval goes from ${percent(before)} to ${percent(after)}.`;
      return { figure: low, limit: "above 0", passed, sentence };
    },
  },
  {
    name: "repetition",
    look: (measured) => {
      const { before, after } = measured.repetition;
      const rise = allowedRise(limits.mostRepetitionRise, measured);
      const passed = after - before <= rise + rounding;
      return {
        figure: after,
        limit: `at most ${rounded(before + rise)}`,
        passed,
        sentence: `Captions repeat themselves ${passed ? "hardly more than before" : "more than before"}: ${percent(after)} of them, ${percent(before)} before.`,
      };
    },
  },
  {
    name: "ends_on_function_word",
    look: (measured) => {
      const { before, after } = measured.ends_on_function_word;
      const rise = allowedRise(limits.mostFunctionWordRise, measured);
      const passed = after - before <= rise + rounding;
      return {
        figure: after,
        limit: `at most ${rounded(before + rise)}`,
        passed,
        sentence: `${passed ? "Captions end properly" : "More captions break off"}: ${percent(after)} end on a word like "a" or "of", ${percent(before)} before.`,
      };
    },
  },
  {
    name: "mean_length",
    look: ({ mean_length: { before, after }, liked_length: liked }) => {
      // Who likes short captions may get them.
      const least = limits.leastLengthRatio * Math.min(before, liked);
      const most = limits.mostLengthRatio * Math.max(before, liked);
      const passed = after >= least && after <= most;
      return {
        figure: after,
        limit: `between ${rounded(least)} and ${rounded(most)}`,
        passed,
        sentence: `Captions have ${passed ? "a fitting length" : `become far too ${after < least ? "short" : "long"}`}: ${after.toFixed(1)} words on average, ${before.toFixed(1)} before, ${liked.toFixed(1)} in what was liked.`,
      };
    },
  },
  {
    name: "evaluator_score",
    look: ({ evaluator_score: { before, after } }) => {
      const { absolute, relative } = limits.mostScoreFall;
      const fall = Math.max(absolute, relative * Math.abs(before));
      const passed = before - after <= fall + rounding;
      return {
        figure: after,
        limit: `at least ${rounded(before - fall)}`,
        passed,
        sentence: `A judge that compares captions with their images finds that they fit ${passed ? "about as well as before" : "worse than before"}: a score of ${after.toFixed(3)}, ${before.toFixed(3)} before.`,
      };
    },
  },
  {
    name: "distinct",
    look: ({ distinct: { before, after } }) => {
      const least = limits.leastDistinctRatio * before;
      const passed = after >= least - rounding;
      return {
        figure: after,
        limit: `at least ${rounded(least)}`,
        passed,
        sentence: `${passed ? "Different images still get different captions" : "Too many images get the same caption"}: ${rounded(100 * after)} different ones per 100 images, ${rounded(100 * before)} before.`,
      };
    },
  },
  {
    name: "kl",
    look: ({ kl }) => {
      const passed = kl <= limits.mostKl;
      return {
        figure: kl,
        limit: `at most ${limits.mostKl}`,
        passed,
        sentence: `The new version has moved ${passed ? "no further from the base than thumbs can answer for" : "too far from the base"} (${kl.toFixed(1)} nats a caption).`,
      };
    },
  },
];

/** Judges a version by its figures; every check is listed, and those not passed are the reasons. */
export function judge(measured: Evaluation): Gate {
  const checks = rules.map(({ name, look }) => ({ name, ...look(measured) }));
  const reasons = checks.filter(({ passed }) => !passed).map(({ sentence }) => sentence);
  return { verdict: reasons.length === 0 ? "passed" : "rejected", reasons, checks };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}

function points(share: number): string {
  return (100 * share).toFixed(1);
}

/** Three decimals at most, without trailing zeros. */
function rounded(value: number): string {
  return String(Number(value.toFixed(3)));
}
