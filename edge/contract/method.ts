// How a version is made from feedback: the objectives and what a caller may set of each.
import { z } from "zod";

const auto = z.literal("auto");
const number = (least: number, most: number, description: string) =>
  z
    .union([z.number().min(least).max(most), auto])
    .optional()
    .meta({ description });
const whole = (least: number, most: number, description: string) =>
  z
    .union([z.int().min(least).max(most), auto])
    .optional()
    .meta({ description });

const beta = number(0.01, 10, "Strength of the pull towards the base version, .01 to 10. `auto`: 1.");
const candidates = whole(2, 64, "Candidate captions drawn per rated image, 2 to 64. `auto`: 24.");
const anchor = number(
  0,
  10,
  "Weight of the winner's negative log-likelihood, mean over its tokens, which keeps captions well-formed, 0 to 10. `auto`: 1.",
);
const epochs = whole(1, 50, "Passes over the rated images, 1 to 50. `auto`: as many as at least 60 steps take.");
const batchSize = whole(1, 64, "Images a step, 1 to 64. `auto`: 8.");
const learningRate = number(1e-6, 1e-2, "Peak learning rate of AdamW, .000001 to .01. `auto`: .0001.");

/** How much each judge counts when candidates are ranked. */
const ranking = {
  preference_weight: number(
    0,
    50,
    "What the thumbs' preference model counts, per nat of the log-probability that viewers like the caption (cut at -4), 0 to 50. `auto`: 12.",
  ),
  evaluator_weight: number(
    0,
    10,
    "What the image-text evaluator counts, per .05 of its PAC-S (2 x cosine), 0 to 10. `auto`: 1.",
  ),
  unlikely_weight: number(
    0,
    10,
    "What a candidate loses per nat that it is less likely to the base than the base's own best, 0 to 10. `auto`: .5.",
  ),
  correction_bonus: number(
    0,
    20,
    "How far above the best candidate a viewer's correction is ranked, in the same units, 0 to 20. `auto`: 2.",
  ),
};

export const DicoHyperparameters = z
  .strictObject({
    beta,
    tau: number(0, 100, "Sharpness with which worse candidates count more, 0 to 100. `auto`: 2."),
    candidates,
    losers: whole(1, 15, "Candidates that each winner is set against, 1 to 15. `auto`: 5."),
    anchor,
    n_epochs: epochs,
    batch_size: batchSize,
    learning_rate: learningRate,
    on_policy: z.union([z.boolean(), auto]).optional().meta({
      description:
        "Draw the candidates anew from the model being trained, as the paper does. `auto`: false below 2,000 thumbs.",
    }),
    ...ranking,
  })
  .meta({ id: "DicoHyperparameters", description: "Settings of DiCO; what is left out is `auto`." });
export type DicoHyperparameters = z.infer<typeof DicoHyperparameters>;

export const SftHyperparameters = z
  .strictObject({ n_epochs: epochs, batch_size: batchSize, learning_rate: learningRate })
  .meta({ id: "SftHyperparameters", description: "Settings of supervised fine-tuning; what is left out is `auto`." });
export type SftHyperparameters = z.infer<typeof SftHyperparameters>;

export const ScstHyperparameters = z
  .strictObject({
    reward: z
      .union([z.enum(["preference", "clip_s", "pac_s", "cider"]), auto])
      .optional()
      .meta({
        description:
          "What a sampled caption is rewarded for: the thumbs' preference model, CLIP-S, PAC-S, or CIDEr-D against thumbs-up captions and corrections. `auto`: preference.",
      }),
    baseline: z
      .union([z.enum(["mean", "greedy"]), auto])
      .optional()
      .meta({
        description:
          "What the reward is compared with: the mean of the image's samples, or that of the greedy caption. `auto`: mean.",
      }),
    candidates: whole(2, 64, "Captions sampled per image and step, 2 to 64. `auto`: 5."),
    n_epochs: epochs,
    batch_size: batchSize,
    learning_rate: number(1e-6, 1e-2, "Peak learning rate of AdamW, .000001 to .01. `auto`: .00001."),
  })
  .meta({
    id: "ScstHyperparameters",
    description: "Settings of self-critical sequence training; what is left out is `auto`.",
  });
export type ScstHyperparameters = z.infer<typeof ScstHyperparameters>;

export const DpoHyperparameters = z
  .strictObject({
    beta,
    candidates,
    anchor,
    n_epochs: epochs,
    batch_size: batchSize,
    learning_rate: learningRate,
    ...ranking,
  })
  .meta({
    id: "DpoHyperparameters",
    description: "Settings of direct preference optimisation; what is left out is `auto`.",
  });
export type DpoHyperparameters = z.infer<typeof DpoHyperparameters>;

const none = { hyperparameters: {} };

/** The method of a job; settings that are left out are the GPU worker's to choose. */
export const TrainingMethod = z
  .discriminatedUnion("type", [
    z
      .strictObject({
        type: z.literal("dico"),
        dico: z.strictObject({ hyperparameters: DicoHyperparameters.default({}) }).default(none),
      })
      .meta({
        id: "DicoMethod",
        description: "DiCO: the best of many candidates against several worse ones, by how much worse they are.",
      }),
    z
      .strictObject({
        type: z.literal("sft"),
        sft: z.strictObject({ hyperparameters: SftHyperparameters.default({}) }).default(none),
      })
      .meta({
        id: "SftMethod",
        description: "Supervised fine-tuning: learns thumbs-up captions and corrections word by word.",
      }),
    z
      .strictObject({
        type: z.literal("scst"),
        scst: z.strictObject({ hyperparameters: ScstHyperparameters.default({}) }).default(none),
      })
      .meta({ id: "ScstMethod", description: "Self-critical sequence training: policy gradient on a reward." }),
    z
      .strictObject({
        type: z.literal("dpo"),
        dpo: z.strictObject({ hyperparameters: DpoHyperparameters.default({}) }).default(none),
      })
      .meta({ id: "DpoMethod", description: "Direct preference optimisation: one candidate against one." }),
  ])
  .meta({ id: "TrainingMethod", description: "The method and its settings, by type." });
export type TrainingMethod = z.infer<typeof TrainingMethod>;
