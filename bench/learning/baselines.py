"""What the product could have done instead: thumbs one by one, or no training at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from dico.base_version import BaseVersion
from dico.captioner import Captioner
from dico.job import Learnt
from dico.material import Material, features_of
from dico.objective import Outcome, Per, Scored
from dico.preferences import rewards
from dico.settings import Settings
from dico.update import Example, dico_update, fixed_lists

from learning.world import Shown


@dataclass(frozen=True)
class KtoLike:
    """Each thumb by itself: liked captions gain on the reference, disliked ones lose.

    After arXiv:2402.01306, equation 8, with the batch's own mean log-ratio, not below 0, as the
    point of comparison.
    """

    beta: float
    per: ClassVar[Per] = "image"

    def __call__(self, batch: Scored) -> Outcome:
        """Mean over images of 1 - sigmoid(+-beta (ratio - point))."""
        ratio = (batch.logps - batch.reference_logps)[:, 0]  # [B]
        point = ratio.detach().mean().clamp(min=0)
        sign = batch.rewards[:, 0].sign()
        loss = (1 - F.sigmoid(sign * self.beta * (ratio - point))).mean()
        return Outcome(loss, torch.zeros_like(batch.logps))


def train_kto_like(
    material: Material,
    base: BaseVersion,
    settings: Settings,
    seed: int,
) -> Captioner:
    """As many captions a step as DiCO's lists have, each one rated."""
    examples: list[Example] = []
    for picture in material.side("train"):
        with torch.no_grad():
            hidden = base.captioner.encode(picture.features.to(base.device))[0]
        for thumb, row in zip(picture.thumbs, picture.rows_of_thumbs(), strict=True):
            worth = torch.tensor([1.0 if thumb.is_up else -1.0])
            rated = dataclasses.replace(
                picture.candidates,
                tokens=[thumb.tokens],
                reference_logps=picture.candidates.reference_logps[row : row + 1],
            )
            examples.append(Example(hidden, rated, worth))
    update = dataclasses.replace(
        settings.update, losers=0, batch=settings.update.batch * (1 + settings.update.losers)
    )
    return dico_update(
        base.captioner,
        fixed_lists(examples, update, seed),
        update,
        seed=seed,
        objective=KtoLike(update.beta),
    )


def reranked(
    base: BaseVersion, learnt: Learnt, settings: Settings, shown: Sequence[Shown]
) -> list[str]:
    """The candidate of the base that the thumbs' reward likes best; nothing is trained.

    Every caption then costs as many candidates as a job draws, at each request.
    """
    said: list[str] = []
    for each in shown:
        logits = learnt.preferences.logits(features_of(base, each.candidates))
        worth = rewards(each.candidates, logits, set(), settings.weights)
        said.append(base.tokenizer.decode(each.candidates.tokens[int(worth.argmax())]))
    return said
