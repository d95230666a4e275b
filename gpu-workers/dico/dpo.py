"""Direct preference optimisation: one caption against one other (arXiv:2305.18290)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dico.objective import Outcome, Per, Scored, require_pairs, winner_nll, winner_of


@dataclass(frozen=True)
class DpoLoss:
    """What one batch costs.

    Attributes:
        loss: Scalar, mean over images; carries the gradient.
        rejected: The candidate that each winner was compared with, [B, K], one True per row.
    """

    loss: Tensor
    rejected: Tensor


def dpo_loss(
    policy_logps: Tensor,
    reference_logps: Tensor,
    rewards: Tensor,
    *,
    beta: float,
    valid: Tensor | None = None,
) -> DpoLoss:
    """The candidate with the highest reward against the one with the lowest.

    Of two candidates these are all there are, so a winner and one loser drawn at random are the
    same call with K = 2.

    Args:
        policy_logps: Summed log-probabilities under the policy, [B, K], K >= 2.
        reference_logps: The same under the frozen reference; receives no gradient.
        rewards: [B, K]; the first of equals wins, the last of equals loses.
        beta: Strength of the pull towards the reference; > 0.
        valid: Which candidates exist, [B, K] bool, at least two per row; None means all.

    Raises:
        ValueError: The shapes differ, or a row has fewer than two candidates.
    """
    valid = require_pairs(policy_logps, reference_logps, rewards, valid)
    # Backwards, so that among equals winner and rejected are never the same candidate.
    is_rejected = winner_of(-rewards.flip(1), valid.flip(1)).flip(1)
    ratio = policy_logps - reference_logps.detach()  # [B, K]
    margin = ratio[winner_of(rewards, valid)] - ratio[is_rejected]  # [B]
    return DpoLoss(-F.logsigmoid(beta * margin).mean(), is_rejected)


@dataclass(frozen=True)
class Dpo:
    """Best against worst, with an anchor as `dico.objective.Dico` has it.

    Attributes:
        beta: Strength of the pull towards the reference; > 0.
        anchor: Weight of the winner's token-mean negative log-likelihood.
    """

    beta: float
    anchor: float = 0.0
    per: ClassVar[Per] = "image"

    def __call__(self, batch: Scored) -> Outcome:
        """See `dpo_loss`."""
        result = dpo_loss(
            batch.logps, batch.reference_logps, batch.rewards, beta=self.beta, valid=batch.valid
        )
        loss = result.loss + self.anchor * winner_nll(batch)
        return Outcome(loss, result.rejected.to(torch.float32))
