"""Cross-entropy: teacher forcing on captions that people wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dico.objective import Outcome, Per, Scored, uniform_losers


def xe_loss(logps: Tensor, lengths: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a token, EOS included: a scalar.

    Long captions weigh more than short ones, as in every token-mean cross-entropy.

    Args:
        logps: Summed log-probabilities of the captions, any shape.
        lengths: Their tokens, EOS included, of the same shape.
        valid: Which captions exist, of the same shape; None means all.
    """
    if valid is not None:
        logps, lengths = logps[valid], lengths[valid]
    return -logps.sum() / lengths.sum()


@dataclass(frozen=True)
class Xe:
    """Teacher forcing on all candidates, here people's captions; rewards count nowhere."""

    per: ClassVar[Per] = "token"

    def __call__(self, batch: Scored) -> Outcome:
        """See `xe_loss`."""
        return Outcome(xe_loss(batch.logps, batch.lengths, batch.valid), uniform_losers(batch))
