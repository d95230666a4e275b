"""The two losses of training at scale: cross-entropy on captions, DiCO on the policy's own beams.

Both come as sums, so that a batch cut into any number of parts and devices is the same batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dico.captioner import Captioner, pad_captions
from dico.objective import dico_loss
from dico.scoring import score_sequences
from dico.search import Candidate, beam_search

# Label ids [B * K, T] (w1 .. wn EOS PAD ..) of B images, K adjacent, to rewards [B, K].
Reward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class DicoSettings:
    """The on-policy step's settings; the defaults are the paper's (arXiv:2408.14547).

    Attributes:
        beta: Strength of the pull towards the reference.
        tau: Sharpness of the loser weights on the scale of 2 * cosine.
        num_beams: Candidates of an image.
        max_new_tokens: Tokens generated at most, EOS included.
    """

    beta: float = 0.2
    tau: float = 300.0
    num_beams: int = 5
    max_new_tokens: int = 29


@dataclass(frozen=True)
class DicoSum:
    """One part of a batch: the loss summed over its images, and figures, also sums over images.

    Attributes:
        loss: Scalar, carries the gradient.
        candidates: K of each image, best beam first.
        figures: Sums over images by name.
    """

    loss: Tensor
    candidates: list[list[Candidate]]
    figures: dict[str, float]


def cross_entropy_sum(captioner: Captioner, features: Tensor, captions: list[list[int]]) -> Tensor:
    """Negative log-likelihood summed over all tokens, EOS included and PAD not; with gradient.

    Args:
        captioner: Being trained.
        features: Tower features [E, S, F].
        captions: N = E * K token lists without BOS and EOS, the K of an image adjacent.
    """
    return -score_sequences(captioner, captioner.encode(features), captions).logps.sum()


def count_targets(captions: list[list[int]]) -> int:
    """Tokens that `cross_entropy_sum` counts: each caption's and its EOS."""
    return sum(len(tokens) + 1 for tokens in captions)


def on_policy_sum(
    policy: Captioner,
    reference: Captioner,
    features: Tensor,
    reward: Reward,
    settings: DicoSettings,
) -> DicoSum:
    """One part of a DiCO batch: decode without gradient, rank, re-score with gradient.

    The encoder and cross-attention's keys and values serve search and scoring. A candidate that was
    cut off is scored with an EOS at its end, by policy, reference and reward alike.

    Args:
        policy: Being trained; the candidates are its own beams.
        reference: Frozen.
        features: Tower features [B, S, F].
        reward: The evaluator, bound to these images.
        settings: Of the objective and the search.
    """
    hidden = policy.encode(features)
    cross = policy.cross_cache(hidden)
    candidates = beam_search(
        policy,
        hidden,
        num_beams=settings.num_beams,
        max_new_tokens=settings.max_new_tokens,
        cross=cross,
    )
    captions = [list(candidate.tokens) for image in candidates for candidate in image]
    shape = (len(features), settings.num_beams)
    logps = score_sequences(policy, hidden, captions, cross=cross).logps.view(shape)
    with torch.no_grad():
        reference_hidden = reference.encode(features)
        reference_logps = score_sequences(reference, reference_hidden, captions).logps.view(shape)
        rewards = reward(pad_captions(captions, policy.config)[1].to(features.device)).float()
    result = dico_loss(logps, reference_logps, rewards, beta=settings.beta, tau=settings.tau)
    ratio = (logps - reference_logps).detach()
    gamma = result.gamma
    unfinished = sum(not candidate.finished for image in candidates for candidate in image)
    figures = {
        "margin": float(result.margin.sum()),
        "reward": float(rewards.mean(dim=1).sum()),
        "winner_reward": float(rewards.amax(dim=1).sum()),
        "winner_logratio": float(ratio[result.is_winner].sum()),
        "kl": float(ratio.mean(dim=1).sum()),
        "gamma_entropy": float(-(gamma * gamma.clamp(min=1e-9).log()).sum()),
        "unfinished": unfinished / settings.num_beams,
    }
    return DicoSum(result.loss * len(features), candidates, figures)
