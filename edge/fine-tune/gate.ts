// The gate: whether what a job measured on held-out images lets its version be served.
import type { Gate } from "../contract/jobs.ts";
import type { Evaluation } from "../contract/trainer.ts";

/** A limit that a version must keep; `breach` says how it was broken, or nothing. */
interface Rule {
  name: string;
  breach(measured: Evaluation): string | undefined;
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
} as const;

// Shares are differences of floats: .27 - .25 is a little over .02.
const rounding = 1e-9;

const rules: readonly Rule[] = [
  {
    name: "log_ratio",
    breach: ({ log_ratio }) =>
      log_ratio < limits.leastLogRatio
        ? `the new captions are too improbable to the base (${log_ratio.toFixed(2)} nats, at least ${limits.leastLogRatio})`
        : undefined,
  },
  {
    name: "predicted_approval",
    breach: ({ predicted_approval: { before, after } }) =>
      after > before ? undefined : `predicted approval does not rise (${percent(before)} to ${percent(after)})`,
  },
  {
    name: "repetition",
    breach: ({ repetition: { before, after } }) =>
      after - before > limits.mostRepetitionRise + rounding
        ? `captions repeat themselves more (${percent(before)} to ${percent(after)})`
        : undefined,
  },
  {
    name: "ends_on_function_word",
    breach: ({ ends_on_function_word: { before, after } }) =>
      after - before > limits.mostFunctionWordRise + rounding
        ? `more captions break off (${percent(before)} to ${percent(after)})`
        : undefined,
  },
  {
    name: "mean_length",
    breach: ({ mean_length: { before, after } }) =>
      after < limits.leastLengthRatio * before || after > limits.mostLengthRatio * before
        ? `the length leaves its band (${before.toFixed(1)} to ${after.toFixed(1)} words)`
        : undefined,
  },
  {
    name: "evaluator_score",
    breach: ({ evaluator_score: { before, after } }) =>
      before - after > Math.max(limits.mostScoreFall.absolute, limits.mostScoreFall.relative * Math.abs(before))
        ? `the evaluator's score falls (${before.toFixed(3)} to ${after.toFixed(3)})`
        : undefined,
  },
];

/** Judges a version by its figures; every broken limit is a reason. */
export function judge(measured: Evaluation): Gate {
  const reasons = rules.flatMap((rule) => rule.breach(measured) ?? []);
  return { verdict: reasons.length === 0 ? "passed" : "rejected", reasons };
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
