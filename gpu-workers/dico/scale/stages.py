"""The two stages of arXiv:2408.14547 as the training loop sees them: what a batch costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from dico.captioner import Captioner
from dico.evaluators.clip import PAC_S_WEIGHT
from dico.scale.config import Recipe
from dico.scale.lanes import Item
from dico.scale.models import Evaluator
from dico.scale.step import DicoSettings, count_targets, cross_entropy_sum, on_policy_sum
from dico.tokenizer import Tokenizer


class Stage(Protocol):
    """One way to train a captioner; all sums, so that any cut of a batch gives the same."""

    name: ClassVar[str]
    # The validation figure by which the best captioner is chosen; more is better.
    selected_by: ClassVar[str]

    @property
    def recipe(self) -> Recipe:
        """How it is optimised."""
        ...

    def targets(self, items: Sequence[Item]) -> int:
        """What the loss of these items is a sum over; the batch's loss is divided by it."""
        ...

    def part(
        self, policy: Captioner, items: Sequence[Item], features: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The summed loss with its gradient, and figures summed over the images."""
        ...


@dataclass(frozen=True)
class CrossEntropyStage:
    """Teacher forcing: of each image the caption of this pass; the batch's mean over tokens."""

    name: ClassVar[str] = "xe"
    selected_by: ClassVar[str] = "cider"
    recipe: Recipe
    tokenizer: Tokenizer
    max_tokens: int  # the captioner's; longer captions are cut

    def targets(self, items: Sequence[Item]) -> int:
        """Tokens, EOS included."""
        return count_targets(self._captions(items))

    def part(
        self, policy: Captioner, items: Sequence[Item], features: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """See `Stage`; there are no further figures."""
        return cross_entropy_sum(policy, features, self._captions(items)), {}

    def _captions(self, items: Sequence[Item]) -> list[list[int]]:
        most = self.max_tokens - 1
        return [self.tokenizer.encode(item.caption)[:most] for item in items]


@dataclass(frozen=True)
class DicoStage:
    """DiCO on the policy's own beams; the mean over images, human captions unused."""

    name: ClassVar[str] = "dico"
    selected_by: ClassVar[str] = "ref_pac_s"
    recipe: Recipe
    reference: Captioner
    evaluator: Evaluator
    settings: DicoSettings

    def targets(self, items: Sequence[Item]) -> int:
        """Images."""
        return len(items)

    def part(
        self, policy: Captioner, items: Sequence[Item], features: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """See `Stage`; the reward is 2 * cosine, without prefix or clamp."""
        with torch.no_grad():
            images = self.evaluator.embed_images(features)[..., None]  # [B, d, 1]

        def reward(labels: Tensor) -> Tensor:
            texts = self.evaluator.embed_texts(labels)  # [B * K, d]
            return PAC_S_WEIGHT * (texts.view(len(images), -1, images.shape[1]) @ images)[..., 0]

        part = on_policy_sum(policy, self.reference, features, reward, self.settings)
        return part.loss, part.figures
