"""Self-critical sequence training: REINFORCE with the model's own captions as the baseline.

arXiv:1612.00563 compares samples with the greedy caption, arXiv:1912.08226 beams with their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dico.objective import Outcome, Per, Scored, uniform_losers


def beam_mean_loss(logps: Tensor, rewards: Tensor, valid: Tensor | None = None) -> Tensor:
    """-(1/K) sum_i (r_i - b) log p(s_i) with b the mean reward of the K beams, mean over images.

    Args:
        logps: Summed log-probabilities of the beams, [B, K].
        rewards: Their rewards, [B, K]; receive no gradient.
        valid: Which candidates exist, [B, K]; the means are over those. None means all.
    """
    valid = torch.ones_like(rewards, dtype=torch.bool) if valid is None else valid
    count = valid.sum(dim=1)  # [B]
    rewards = rewards.detach().masked_fill(~valid, 0.0)
    baseline = rewards.sum(dim=1) / count  # [B]
    advantage = (rewards - baseline[:, None]).masked_fill(~valid, 0.0)  # [B, K]
    return -((advantage * logps).sum(dim=1) / count).mean()


def greedy_loss(
    logps: Tensor,
    rewards: Tensor,
    baseline: Tensor,
    lengths: Tensor,
    valid: Tensor | None = None,
) -> Tensor:
    """-(r(sample) - r(greedy)) log p(sample), mean over the tokens of all samples.

    Args:
        logps: Summed log-probabilities of the samples, [B, K].
        rewards: Their rewards, [B, K]; receive no gradient.
        baseline: Reward of each image's greedy caption, [B].
        lengths: Tokens of the samples, EOS included, [B, K].
        valid: Which samples exist, [B, K]; None means all.
    """
    valid = torch.ones_like(rewards, dtype=torch.bool) if valid is None else valid
    advantage = (rewards - baseline[:, None]).detach().masked_fill(~valid, 0.0)  # [B, K]
    return -(advantage * logps).sum() / lengths[valid].sum()


@dataclass(frozen=True)
class BeamMeanScst:
    """SCST on beams, their mean reward as the baseline."""

    per: ClassVar[Per] = "image"

    def __call__(self, batch: Scored) -> Outcome:
        """See `beam_mean_loss`."""
        loss = beam_mean_loss(batch.logps, batch.rewards, batch.valid)
        return Outcome(loss, uniform_losers(batch))


@dataclass(frozen=True)
class GreedyScst:
    """SCST on samples, the greedy caption's reward as the baseline."""

    per: ClassVar[Per] = "token"

    def __call__(self, batch: Scored) -> Outcome:
        """See `greedy_loss`.

        Raises:
            ValueError: The batch has no baseline.
        """
        if batch.baseline is None:
            raise ValueError("expected the reward of each image's greedy caption, got none")
        loss = greedy_loss(batch.logps, batch.rewards, batch.baseline, batch.lengths, batch.valid)
        return Outcome(loss, uniform_losers(batch))
