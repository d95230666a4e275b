"""Supervised fine-tuning on winners: the best candidate of each image is learnt by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dico.objective import Outcome, Per, Scored, uniform_losers, winner_nll


@dataclass(frozen=True)
class Sft:
    """The winner's token-mean negative log-likelihood, mean over images; losers count nowhere."""

    per: ClassVar[Per] = "image"

    def __call__(self, batch: Scored) -> Outcome:
        """See `dico.objective.winner_nll`."""
        return Outcome(winner_nll(batch), uniform_losers(batch))
