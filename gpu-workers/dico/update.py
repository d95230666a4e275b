"""The update: candidates with rewards in, a better captioner out.

Reads like arXiv:2408.14547, section 3: rank the candidates, push the winner up against the
weighted losers, hold on to the reference. The objective is an argument, so a comparison of
objectives differs in nothing else.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dico.candidates import Candidates
from dico.captioner import Captioner
from dico.objective import Dico, Objective, Outcome, Scored
from dico.scoring import score_sequences


@dataclass(frozen=True)
class Hyperparameters:
    """The update's settings; the defaults are recipe X for a few hundred thumbs.

    Attributes:
        beta: Strength of the pull towards the reference.
        tau: Sharpness of the loser weights on the reward scale.
        losers: Losers drawn for each winner and step.
        anchor: Weight of the winner's token-mean negative log-likelihood.
        steps: Optimiser steps.
        batch: Images a step.
        learning_rate: After warm-up.
        warm_up: Steps of linear warm-up.
        accumulate: Parts that a step's images are cut into to save memory; the result is the same.
        train_encoder: Whether projection and encoder learn too; examples then need features.
    """

    beta: float = 1.0
    tau: float = 2.0
    losers: int = 5
    anchor: float = 1.0
    steps: int = 60
    batch: int = 8
    learning_rate: float = 1e-4
    warm_up: int = 10
    accumulate: int = 1
    train_encoder: bool = False


@dataclass(frozen=True)
class Example:
    """One image with its ranked candidates.

    Attributes:
        encoder_hidden_states: [S, d].
        candidates: K captions.
        rewards: [K].
        features: Tower features [S, F], needed where the encoder learns too.
        baseline: Reward of the greedy caption, needed by `dico.scst.GreedyScst`.
    """

    encoder_hidden_states: Tensor
    candidates: Candidates
    rewards: Tensor
    features: Tensor | None = None
    baseline: float | None = None


@dataclass(frozen=True)
class StepReport:
    """Figures of one step; all means over its images.

    Attributes:
        step: Counted from 0.
        loss: What was minimised.
        reward: The winner's.
        margin: The winner's log-ratio minus the losers' weighted log-ratio.
        winner_logratio: Log-probability of the winner, policy minus reference.
        implicit_reward: `beta` times that.
        winner_logp: Under the policy; falls where the margin is bought with mass from the winner.
        kl: Mean log-ratio over the candidates; an estimate of the KL divergence in nats where they
            come from the policy.
        gamma_entropy: Of the loser weights, nats.
        distinct_candidates: Different captions among those of an image.
    """

    step: int
    loss: float
    reward: float
    margin: float
    winner_logratio: float
    implicit_reward: float
    winner_logp: float
    kl: float
    gamma_entropy: float
    distinct_candidates: float


# Gives the examples of a step; fixed lists ignore the policy, on-policy lists are drawn from it.
ExampleSource = Callable[[Captioner, int], list[Example]]


def fixed_lists(examples: list[Example], settings: Hyperparameters, seed: int) -> ExampleSource:
    """Draws each step's images from the rated ones, every image once before any comes twice."""

    def draw(_policy: Captioner, step: int) -> list[Example]:
        batch = min(settings.batch, len(examples))
        return [examples[index] for index in rows_of_step(len(examples), batch, step, seed)]

    return draw


def rows_of_step(count: int, batch: int, step: int, seed: int) -> list[int]:
    """Which of `count` images a step sees, so that every one comes once before any comes twice."""
    chosen: list[int] = []
    for position in range(step * batch, (step + 1) * batch):
        epoch, index = divmod(position, count)
        generator = torch.Generator().manual_seed(seed * 100_003 + epoch)
        chosen.append(int(torch.randperm(count, generator=generator)[index]))
    return chosen


def dico_update(
    reference: Captioner,
    source: ExampleSource,
    settings: Hyperparameters,
    *,
    seed: int,
    objective: Objective | None = None,
    checkpoint: Path | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> Captioner:
    """Trains a copy of the reference's decoder; projection and encoder only where asked for.

    One seed gives one result on the CPU, also when the training was interrupted.

    Args:
        reference: The base; not changed.
        source: Examples of each step.
        settings: Hyperparameters.
        seed: Decides images and losers of each step.
        objective: What is minimised; None means DiCO with the settings' beta, tau and anchor.
        checkpoint: File to save to every ten steps, and to go on from.
        on_step: Told about each step.

    Returns:
        The policy, in eval mode.
    """
    objective = objective or Dico(settings.beta, settings.tau, settings.anchor)
    policy = copy.deepcopy(reference).eval()  # dropout is nowhere: margin is exactly 0 at step 0
    for name, parameter in policy.named_parameters():
        of_encoder = name.startswith(("projection", "encoder_"))
        parameter.requires_grad_(settings.train_encoder or not of_encoder)
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, betas=(0.9, 0.99))
    first = 0
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        policy.load_state_dict(saved["policy"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    for step in range(first, settings.steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        lists = [_pick(e, 1 + settings.losers, generator) for e in source(policy, step)]
        for group in optimiser.param_groups:
            warm = min((step + 1) / settings.warm_up, 1.0)
            group["lr"] = settings.learning_rate * warm
        optimiser.zero_grad()
        on_step(_backward(policy, lists, objective, settings, step))
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        if checkpoint is not None and ((step + 1) % 10 == 0 or step + 1 == settings.steps):
            _save(checkpoint, policy, optimiser, step + 1)
    return policy.requires_grad_(False)


@dataclass(frozen=True)
class _List:
    """One image's candidates of a step, the winner first: rows of its example's, [K]."""

    example: Example
    rows: Tensor

    @property
    def captions(self) -> list[list[int]]:
        tokens = self.example.candidates.tokens
        return [list(tokens[row]) for row in self.rows.tolist()]

    @property
    def valid(self) -> Tensor:
        """A short list repeats its winner to fill the row; repetitions do not take part: [K]."""
        valid = self.rows != self.rows[0]
        valid[0] = True
        return valid


def _pick(example: Example, count: int, generator: torch.Generator) -> _List:
    """The winner and losers drawn at random, filled up with the winner."""
    winner = int(example.rewards.argmax())
    order = torch.randperm(len(example.candidates.tokens), generator=generator).tolist()
    losers = [index for index in order if index != winner][: count - 1]
    rows = [winner, *losers] + [winner] * (count - 1 - len(losers))
    return _List(example, torch.tensor(rows))


def _backward(
    policy: Captioner,
    lists: list[_List],
    objective: Objective,
    settings: Hyperparameters,
    step: int,
) -> StepReport:
    """Adds the gradient of a whole step, part by part."""
    size = -(-len(lists) // settings.accumulate)
    parts = [lists[start : start + size] for start in range(0, len(lists), size)]
    counts = [_count(part, objective) for part in parts]
    on_cuda = next(policy.parameters()).is_cuda
    figures: dict[str, float] = {}
    for part, count in zip(parts, counts, strict=True):
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else contextlib.nullcontext():
            batch = _score(policy, part, settings.train_encoder)
            outcome = objective(batch)
        share = count / sum(counts)
        (outcome.loss * share).backward()
        seen = _figures(batch, outcome, settings.beta)
        seen["distinct_candidates"] = sum(
            len({tuple(caption) for caption in each.captions}) for each in part
        ) / len(part)
        figures["loss"] = figures.get("loss", 0.0) + share * float(outcome.loss.detach())
        for name, value in seen.items():
            figures[name] = figures.get(name, 0.0) + value * len(part) / len(lists)
    return StepReport(step=step, **figures)


def _count(part: list[_List], objective: Objective) -> int:
    """How many of what the objective's mean is over lie in a part of a batch."""
    if objective.per == "image":
        return len(part)
    return sum(
        len(caption) + 1
        for each in part
        for caption, valid in zip(each.captions, each.valid.tolist(), strict=True)
        if valid
    )


def _score(policy: Captioner, part: list[_List], train_encoder: bool) -> Scored:
    """One teacher-forced pass; everything [B, K], the winner first."""
    examples = [each.example for each in part]
    if train_encoder:
        hidden = policy.encode(torch.stack([_features(example) for example in examples]))
    else:
        hidden = torch.stack([example.encoder_hidden_states for example in examples])
    device = hidden.device
    shape = (len(part), len(part[0].rows))
    scored = score_sequences(policy, hidden, [c for each in part for c in each.captions])
    baselines = [example.baseline for example in examples if example.baseline is not None]
    return Scored(
        logps=scored.logps.view(shape),
        reference_logps=torch.stack(
            [each.example.candidates.reference_logps[each.rows] for each in part]
        ).to(device),
        rewards=torch.stack([each.example.rewards[each.rows] for each in part]).to(device),
        lengths=scored.lengths.view(shape),
        valid=torch.stack([each.valid for each in part]).to(device),
        baseline=torch.tensor(baselines, device=device) if len(baselines) == len(part) else None,
    )


def _features(example: Example) -> Tensor:
    if example.features is None:
        raise ValueError("training the encoder needs the tower features of every example")
    return example.features


@torch.no_grad()
def _figures(batch: Scored, outcome: Outcome, beta: float) -> dict[str, float]:
    winner, gamma = batch.is_winner, outcome.gamma
    ratio = (batch.logps.detach() - batch.reference_logps).masked_fill(~batch.valid, 0.0)
    margin = (ratio * (winner.to(gamma.dtype) - gamma)).sum(dim=1)
    entropy = -(gamma * gamma.clamp(min=1e-9).log()).sum(dim=1)
    return {
        "reward": float(batch.rewards[winner].mean()),
        "margin": float(margin.mean()),
        "winner_logratio": float(ratio[winner].mean()),
        "implicit_reward": beta * float(ratio[winner].mean()),
        "winner_logp": float(batch.logps[winner].mean()),
        "kl": float((ratio.sum(dim=1) / batch.valid.sum(dim=1)).mean()),
        "gamma_entropy": float(entropy.mean()),
    }


def _save(path: Path, policy: Captioner, optimiser: torch.optim.Optimizer, step: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(
        {"policy": policy.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, partial
    )
    os.replace(partial, path)


def report_figures(report: StepReport) -> dict[str, float]:
    """The step's figures for a progress line."""
    return {name: round(value, 5) for name, value in asdict(report).items() if name != "step"}
