"""The DiCO update: candidates with rewards in, a better captioner out.

Reads like arXiv:2408.14547, section 3: rank the candidates, push the winner up against the
weighted losers, hold on to the reference. Beside the paper's loss stands an anchor, the winner's
negative log-likelihood: without it the losers' push moves mass to captions outside the list.
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

from dico.candidates import Candidates, score_sequences
from dico.captioner import Captioner
from dico.objective import dico_loss


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
    """

    beta: float = 1.0
    tau: float = 2.0
    losers: int = 5
    anchor: float = 1.0
    steps: int = 60
    batch: int = 8
    learning_rate: float = 1e-4
    warm_up: int = 10


@dataclass(frozen=True)
class Example:
    """One rated image: encoder states [S, d], its candidates and their rewards [K]."""

    encoder_hidden_states: Tensor
    candidates: Candidates
    rewards: Tensor


@dataclass(frozen=True)
class StepReport:
    """Figures of one step; all means over its images."""

    step: int
    loss: float
    margin: float
    winner_logratio: float
    gamma_entropy: float


# Gives the examples of a step; fixed lists ignore the policy, on-policy lists are drawn from it.
ExampleSource = Callable[[Captioner, int], list[Example]]


def fixed_lists(examples: list[Example], settings: Hyperparameters, seed: int) -> ExampleSource:
    """Draws each step's images from the rated ones, every image once before any comes twice."""

    def draw(_policy: Captioner, step: int) -> list[Example]:
        batch = min(settings.batch, len(examples))
        chosen: list[Example] = []
        for position in range(step * batch, (step + 1) * batch):
            epoch, index = divmod(position, len(examples))
            order = torch.randperm(
                len(examples), generator=torch.Generator().manual_seed(seed * 100_003 + epoch)
            )
            chosen.append(examples[int(order[index])])
        return chosen

    return draw


def dico_update(
    reference: Captioner,
    source: ExampleSource,
    settings: Hyperparameters,
    *,
    seed: int,
    checkpoint: Path | None = None,
    on_step: Callable[[StepReport], None] = lambda report: None,
) -> Captioner:
    """Trains a copy of the reference's decoder; projection and encoder stay as they are.

    One seed gives one result on the CPU, also when the training was interrupted.

    Args:
        reference: The base; not changed.
        source: Examples of each step.
        settings: Hyperparameters.
        seed: Decides images and losers of each step.
        checkpoint: File to save to every ten steps, and to go on from.
        on_step: Told about each step.

    Returns:
        The policy, in eval mode.
    """
    policy = copy.deepcopy(reference).eval()  # dropout is nowhere: margin is exactly 0 at step 0
    for name, parameter in policy.named_parameters():
        parameter.requires_grad_(not name.startswith(("projection", "encoder_")))
    trained = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=settings.learning_rate, betas=(0.9, 0.99))
    first = 0
    if checkpoint is not None and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        policy.load_state_dict(saved["policy"])
        optimiser.load_state_dict(saved["optimiser"])
        first = saved["step"]
    on_cuda = next(policy.parameters()).is_cuda
    for step in range(first, settings.steps):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        examples = source(policy, step)
        for group in optimiser.param_groups:
            warm = min((step + 1) / settings.warm_up, 1.0)
            group["lr"] = settings.learning_rate * warm
        with torch.autocast("cuda", torch.bfloat16) if on_cuda else contextlib.nullcontext():
            loss, report = _step_loss(policy, examples, settings, generator, step)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        on_step(report)
        if checkpoint is not None and ((step + 1) % 10 == 0 or step + 1 == settings.steps):
            _save(checkpoint, policy, optimiser, step + 1)
    return policy.requires_grad_(False)


def _step_loss(
    policy: Captioner,
    examples: list[Example],
    settings: Hyperparameters,
    generator: torch.Generator,
    step: int,
) -> tuple[Tensor, StepReport]:
    """The loss of one batch with fresh losers; candidates below are [B, K], the winner first."""
    count = 1 + settings.losers
    rows = [_winner_and_losers(example, count, generator) for example in examples]
    captions = [
        list(e.candidates.tokens[i]) for e, r in zip(examples, rows, strict=True) for i in r
    ]
    hidden = torch.stack([example.encoder_hidden_states for example in examples])
    shape = (len(examples), count)
    device = hidden.device
    picked = [torch.tensor(row) for row in rows]
    reference_logps = torch.stack(
        [e.candidates.reference_logps[row] for e, row in zip(examples, picked, strict=True)]
    ).to(device)
    reward = torch.stack([e.rewards[row] for e, row in zip(examples, picked, strict=True)])
    # A short list repeats its winner to fill the row; repetitions do not take part.
    valid = torch.stack([(row != row[0]) for row in picked])
    valid[:, 0] = True
    scored = score_sequences(policy, hidden, captions)
    logps = scored.logps.view(shape)
    result = dico_loss(
        logps, reference_logps, reward.to(device), beta=settings.beta, tau=settings.tau,
        valid=valid.to(device),
    )  # fmt: skip
    winner_nll = -(logps[:, 0] / scored.lengths.view(shape)[:, 0]).mean()
    loss = result.loss + settings.anchor * winner_nll
    gamma = result.gamma
    entropy = -(gamma * gamma.clamp(min=1e-9).log()).sum(dim=1).mean()
    ratio = (logps[:, 0] - reference_logps[:, 0]).detach().mean()
    report = StepReport(
        step, float(loss.detach()), float(result.margin.mean()), float(ratio), float(entropy)
    )
    return loss, report


def _winner_and_losers(example: Example, count: int, generator: torch.Generator) -> list[int]:
    """Indices of the winner and of losers drawn at random, filled up with the winner."""
    winner = int(example.rewards.argmax())
    order = torch.randperm(len(example.candidates.tokens), generator=generator).tolist()
    losers = [index for index in order if index != winner][: count - 1]
    return [winner, *losers] + [winner] * (count - 1 - len(losers))


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
