"""The DiCO objective: one winner against a weighted set of losers, per image.

Pure functions of log-probabilities and rewards; no model, no data, no state.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


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
    if not policy_logps.shape == reference_logps.shape == rewards.shape or rewards.dim() != 2:
        raise ValueError(
            "expected three equal [B, K] shapes, got "
            f"{tuple(policy_logps.shape)}, {tuple(reference_logps.shape)}, {tuple(rewards.shape)}"
        )
    if valid is None:
        valid = torch.ones_like(rewards, dtype=torch.bool)
    if rewards.shape[1] < 2 or bool((valid.sum(dim=1) < 2).any()):
        raise ValueError("expected at least two candidates for each image")
    rewards = rewards.detach().masked_fill(~valid, -torch.inf)
    is_winner = F.one_hot(rewards.argmax(dim=1), rewards.shape[1]).bool()  # [B, K], one per row
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
