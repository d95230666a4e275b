"""What a training step costs: the shape all objectives share, and DiCO's own.

An objective is a pure function of log-probabilities and rewards; no model, no data, no state. The
others stand beside this file: `dico.xe`, `dico.sft`, `dico.scst`, `dico.dpo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

# What an objective's mean is over; decides how the parts of an accumulated batch are weighed.
Per = Literal["image", "token"]


@dataclass(frozen=True)
class Scored:
    """B images with K candidates each, as every objective sees them; all [B, K] but `baseline`.

    Attributes:
        logps: Summed log-probabilities under the policy, EOS included; carry the gradient.
        reference_logps: The same under the frozen reference.
        rewards: What the candidates are ranked or weighed by.
        lengths: Tokens of each candidate, EOS included.
        valid: Which candidates exist; a short list is filled up.
        baseline: Reward of each image's greedy caption, [B]; None where nobody asked for it.
    """

    logps: Tensor
    reference_logps: Tensor
    rewards: Tensor
    lengths: Tensor
    valid: Tensor
    baseline: Tensor | None = None

    @property
    def is_winner(self) -> Tensor:
        """The candidate with the highest reward, the first of equals: [B, K], one True per row."""
        return winner_of(self.rewards, self.valid)


@dataclass(frozen=True)
class Outcome:
    """What one batch costs under an objective.

    Attributes:
        loss: Scalar mean over what the objective's `per` says; carries the gradient.
        gamma: How much each loser counts, [B, K], rows sum to 1; uniform where the objective has
            no such weights; detached.
    """

    loss: Tensor
    gamma: Tensor


class Objective(Protocol):
    """A batch of scored candidates in, a loss out."""

    per: ClassVar[Per]

    def __call__(self, batch: Scored) -> Outcome:
        """The batch's loss; the parts of a batch, weighed by what `per` counts, give the whole."""
        ...


def winner_of(rewards: Tensor, valid: Tensor) -> Tensor:
    """The highest reward that is valid, the first of equals: [B, K] bool, one True per row."""
    best = rewards.detach().masked_fill(~valid, -torch.inf).argmax(dim=1)
    return F.one_hot(best, rewards.shape[1]).bool()


def uniform_losers(batch: Scored) -> Tensor:
    """The same weight for each loser, [B, K], rows sum to 1, or to 0 where there is none."""
    loses = (batch.valid & ~batch.is_winner).to(batch.rewards.dtype)
    return loses / loses.sum(dim=1, keepdim=True).clamp(min=1)


@dataclass(frozen=True)
class DicoLoss:
    """What one batch costs.

    Attributes:
        loss: Scalar, mean over images; carries the gradient.
        margin: The winner's log-ratio minus the losers' weighted log-ratio, [B], detached.
        gamma: Loser weights, [B, K], 0 at the winner, each row sums to 1; detached.
        is_winner: [B, K], one True per row.
    """

    loss: Tensor
    margin: Tensor
    gamma: Tensor
    is_winner: Tensor


def dico_loss(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    *,
    beta: float,
    tau: float,
    valid: Tensor | None = None,
) -> DicoLoss:
    """Scores a batch of ranked candidates with the DiCO objective (arXiv:2408.14547).

    The candidate with the highest reward wins, the first of equals; the further a loser's reward
    lies below it, the more it counts. With two candidates this is DPO.

    Args:
        policy_logps: Summed log-probabilities of the candidates under the policy, [B, K], K >= 2.
        reference_logps: The same under the frozen reference, [B, K]; receives no gradient.
        rewards: The evaluator's scores, [B, K].
        beta: Strength of the pull towards the reference; > 0.
        tau: Sharpness of the loser weights; 0 weighs all losers alike.
        valid: Which candidates exist, [B, K] bool, at least two per row; None means all.

    Raises:
        ValueError: The shapes differ, or a row has fewer than two candidates.
    """
    valid = require_pairs(policy_logps, reference_logps, rewards, valid)
    rewards = rewards.detach().masked_fill(~valid, -torch.inf)
    is_winner = winner_of(rewards, valid)  # [B, K], one per row
    gap = (rewards.amax(dim=1, keepdim=True) - rewards).masked_fill(~valid, 0.0)  # [B, K]
    weights = (tau * gap).masked_fill(is_winner | ~valid, -torch.inf)
    gamma = weights.softmax(dim=1)  # [B, K], losers sum to 1
    logratios = (policy_logps - reference_logps.detach()).masked_fill(~valid, 0.0)  # [B, K]
    margin = (logratios * (is_winner.to(gamma.dtype) - gamma)).sum(dim=1)  # [B]
    return DicoLoss(
        loss=-F.logsigmoid(beta * margin).mean(),
        margin=margin.detach(),
        gamma=gamma,
        is_winner=is_winner,
    )


def require_pairs(
    policy_logps: Tensor, reference_logps: Tensor, rewards: Tensor, valid: Tensor | None
) -> Tensor:
    """Checks that every image has candidates to compare; returns `valid`, all True for None.

    Raises:
        ValueError: The shapes differ, or a row has fewer than two candidates.
    """
    if not policy_logps.shape == reference_logps.shape == rewards.shape or rewards.dim() != 2:
        raise ValueError(
            "expected three equal [B, K] shapes, got "
            f"{tuple(policy_logps.shape)}, {tuple(reference_logps.shape)}, {tuple(rewards.shape)}"
        )
    if valid is None:
        valid = torch.ones_like(rewards, dtype=torch.bool)
    if rewards.shape[1] < 2 or bool((valid.sum(dim=1) < 2).any()):
        raise ValueError("expected at least two candidates for each image")
    return valid


@dataclass(frozen=True)
class Dico:
    """The DiCO objective with an anchor, the winner's negative log-likelihood.

    Without the anchor the losers' push moves mass to captions outside a fixed list; the paper's
    form, on the policy's own beams, has none.

    Attributes:
        beta: Strength of the pull towards the reference; > 0.
        tau: Sharpness of the loser weights on the reward scale.
        anchor: Weight of the winner's token-mean negative log-likelihood.
    """

    beta: float
    tau: float
    anchor: float = 0.0
    per: ClassVar[Per] = "image"

    def __call__(self, batch: Scored) -> Outcome:
        """See `dico_loss`."""
        result = dico_loss(
            batch.logps, batch.reference_logps, batch.rewards, beta=self.beta, tau=self.tau,
            valid=batch.valid,
        )  # fmt: skip
        return Outcome(result.loss + self.anchor * winner_nll(batch), result.gamma)


def winner_nll(batch: Scored) -> Tensor:
    """Token-mean negative log-likelihood of the winners, mean over images: a scalar."""
    is_winner = batch.is_winner
    return -(batch.logps[is_winner] / batch.lengths[is_winner]).mean()
