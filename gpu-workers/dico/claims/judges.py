"""The rewards that methods train on, and the evaluators they are measured with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dico.base_version import BaseVersion
from dico.claims.methods import RewardName
from dico.claims.pictures import Pictures
from dico.evaluators.scores import Scorer
from dico.evaluators.storage import file_digest
from dico.metrics.cider import DocumentFrequencies
from dico.metrics.tokenise import tokenise


class Judges:
    """Both evaluators, and CIDEr with document frequencies from the training scenes."""

    def __init__(self, base: BaseVersion, human_captions: list[list[str]]) -> None:
        """Args: base: whose evaluators; human_captions: of the scenes that are trained on."""
        digest = file_digest(base.folder / "training" / "evaluators.safetensors")
        # The built-in evaluators were trained on bare captions, so there is no prompt.
        self.clip_s = Scorer.of("clip_s", base.clip, base.tokenizer, digest, prompt="")
        self.pac_s = Scorer.of("pac_s", base.pac, base.tokenizer, digest, prompt="")
        self._pac_reward = Scorer.of(
            "pac_s", base.pac, base.tokenizer, digest, prompt="", clamped=False
        )
        self._frequencies = DocumentFrequencies.of(_tokens(human_captions))

    def rewards(
        self, name: RewardName, pictures: Pictures, rows: Sequence[int], captions: list[list[str]]
    ) -> Tensor:
        """Rewards of the K captions of each row of `pictures`, [len(rows), K]."""
        index = torch.tensor(rows)
        flat = [caption for image in captions for caption in image]
        shape = (len(rows), len(captions[0]))
        if name == "none":
            return torch.zeros(shape)
        if name == "cider":
            human = _tokens([pictures.human_captions[row] for row in rows])
            scores = self._frequencies.score(
                [tokenise(caption) for caption in flat],
                [own for own in human for _ in captions[0]],
            )
            return torch.from_numpy(scores).float().view(shape)
        scorer = self.clip_s if name == "clip_s" else self._pac_reward
        images = pictures.clip[index] if name == "clip_s" else pictures.pac[index]
        return scorer.score(images, scorer.embed_captions(flat).unflatten(0, shape))


def _tokens(human_captions: list[list[str]]) -> list[list[list[str]]]:
    return [[tokenise(caption) for caption in own] for own in human_captions]
