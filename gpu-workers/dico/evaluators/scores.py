"""CLIP-S, PAC-S and their forms with human captions, each with what it was computed by.

A score moves with the evaluator's weights, the prompt, the weight and the libraries; `Provenance`
goes into every file that holds such a number.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from dico.captioner import CaptionerConfig, pad_captions
from dico.evaluators.clip import CLIP_S_WEIGHT, PAC_S_WEIGHT, Clip

# What the official scores put before each caption, human captions included.
OFFICIAL_PROMPT = "A photo depicts "
LIBRARIES = ("torch", "numpy", "pillow", "tokenizers")

ScoreName = Literal["clip_s", "pac_s"]
WEIGHTS: dict[ScoreName, float] = {"clip_s": CLIP_S_WEIGHT, "pac_s": PAC_S_WEIGHT}


class Encodes(Protocol):
    """Text to token ids without special tokens."""

    def encode(self, caption: str) -> list[int]:
        """Ids of one caption."""
        ...


@dataclass(frozen=True)
class Provenance:
    """What a score was computed by.

    Attributes:
        score: CLIP-S or PAC-S.
        evaluator_sha256: Digest of the evaluator's weights.
        prompt: Put before every caption.
        weight: That the cosine is multiplied with.
        clamped: Whether negative cosines count as 0.
        libraries: Versions, Python's included.
    """

    score: ScoreName
    evaluator_sha256: str
    prompt: str
    weight: float
    clamped: bool
    libraries: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def library_versions() -> dict[str, str]:
    """Versions of everything that a score may move with."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Scorer:
    """One evaluator used as one score; its methods take and give unit vectors.

    Attributes:
        clip: In eval mode.
        tokenizer: The evaluator's own.
        provenance: See there.
    """

    clip: Clip
    tokenizer: Encodes
    provenance: Provenance

    @classmethod
    def of(
        cls,
        score: ScoreName,
        clip: Clip,
        tokenizer: Encodes,
        evaluator_sha256: str,
        *,
        prompt: str = OFFICIAL_PROMPT,
        clamped: bool = True,
    ) -> Scorer:
        """The score with its official weight.

        Args:
            score: Which; `clip` must hold the weights that belong to it.
            clip: In eval mode.
            tokenizer: The evaluator's own.
            evaluator_sha256: Digest of its weights.
            prompt: Empty for an evaluator that was trained on bare captions.
            clamped: False gives the reward of arXiv:2408.14547, 2 * cosine, which may be negative.
        """
        provenance = Provenance(
            score, evaluator_sha256, prompt, WEIGHTS[score], clamped, library_versions()
        )
        return cls(clip, tokenizer, provenance)

    @torch.no_grad()
    def embed_captions(self, captions: Sequence[str]) -> Tensor:
        """Captions behind the prompt, cut where the evaluator reads no further: [N, d]."""
        config = self.clip.config
        ids = [
            self.tokenizer.encode(self.provenance.prompt + caption)[: config.max_tokens - 1]
            for caption in captions
        ]
        special = CaptionerConfig(bos_id=config.bos_id, eos_id=config.eos_id, pad_id=config.pad_id)
        labels = pad_captions(ids, special)[1]
        return self.clip.embed_texts(labels.to(self.clip.token_embedding.weight.device))

    def score(self, images: Tensor, captions: Tensor) -> Tensor:
        """CLIP-S or PAC-S: images [B, d], captions [B, K, d] -> [B, K]."""
        cosine = (captions @ images[..., None]).squeeze(-1)  # [B, K]
        return self.provenance.weight * (cosine.clamp(min=0) if self.provenance.clamped else cosine)

    def with_human_captions(
        self, images: Tensor, captions: Tensor, human_captions: Sequence[Tensor]
    ) -> Tensor:
        """RefCLIP-S or RefPAC-S of one caption of each image.

        Args:
            images: [B, d].
            captions: [B, d].
            human_captions: Those of each image, [R, d] each, R >= 1.

        Returns:
            [B], the harmonic mean of the score and of the best cosine to a human caption.
        """
        score = self.score(images, captions[:, None]).squeeze(1)  # [B]
        nearest = torch.stack(
            [(own @ caption).max() for own, caption in zip(human_captions, captions, strict=True)]
        )
        return harmonic_mean(score, nearest)


def harmonic_mean(score: Tensor, nearest: Tensor) -> Tensor:
    """2 a b / (a + b) of values clamped at 0; 0 where both are 0 (arXiv:2104.08718, section 3)."""
    score, nearest = score.clamp(min=0), nearest.clamp(min=0)
    return 2 * score * nearest / (score + nearest).clamp(min=1e-9)
