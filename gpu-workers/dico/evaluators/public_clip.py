"""CLIP as it is published (OpenAI, open_clip, PAC-S, Hugging Face), and as an evaluator of ours.

arXiv:2103.00020. Unlike `dico.evaluators.clip` it looks at pixels with a tower of its own, which
may be the captioner's, and reads CLIP's own tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dico.prefix_tree import PrefixTree
from dico.towers.vit import Activation, Block, VisionTransformer, VitConfig

# Texts that share their beginnings, the paper's step has 80; what attention sees grows with them.
GROUP = 96


@dataclass(frozen=True)
class TextConfig:
    """Sizes of the text tower.

    Attributes:
        max_tokens: Tokens that it reads at most, start and end included.
        bos_id: Stands before every text.
        eos_id: Stands behind it; its state becomes the embedding.
    """

    width: int
    layers: int
    heads: int
    ffn: int
    activation: Activation
    eps: float
    vocab_size: int
    max_tokens: int
    bos_id: int
    eos_id: int


@dataclass(frozen=True)
class PublicClipConfig:
    """Both towers and the width of the space that they share."""

    vision: VitConfig
    text: TextConfig
    embed_width: int


class PublicClip(nn.Module):
    """Two towers and two projections into one space."""

    def __init__(self, config: PublicClipConfig) -> None:
        super().__init__()
        self.config = config
        vision, text = config.vision, config.text
        self.vision = VisionTransformer(vision)
        self.vision_norm = nn.LayerNorm(vision.width, eps=vision.eps)
        self.vision_projection = nn.Linear(vision.width, config.embed_width, bias=False)
        self.token_embedding = nn.Embedding(text.vocab_size, text.width)
        self.text_positions = nn.Parameter(torch.randn(text.max_tokens, text.width) * 0.01)
        self.text_blocks = nn.ModuleList(
            Block(text.width, text.heads, text.ffn, text.activation, text.eps)
            for _ in range(text.layers)
        )
        self.text_norm = nn.LayerNorm(text.width, eps=text.eps)
        self.text_projection = nn.Linear(text.width, config.embed_width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def embed_features(self, features: Tensor) -> Tensor:
        """Features of the vision tower [B, S, F], class token first -> unit vectors [B, E]."""
        return F.normalize(self.vision_projection(self.vision_norm(features[:, 0])), dim=-1)

    def embed_images(self, pixel_values: Tensor) -> Tensor:
        """[B, 3, side, side] pixels in [-1, 1] -> unit vectors [B, E].

        Pixels of another side than the tower's are resized (bicubic, smoothed): close to what
        resizing the picture itself gives, not equal to it.
        """
        side = self.config.vision.image_size
        if pixel_values.shape[-1] != side:
            pixel_values = F.interpolate(
                pixel_values, (side, side), mode="bicubic", antialias=True
            ).clamp(-1, 1)
        return self.embed_features(self.vision(pixel_values))

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """Ids [N, T], BOS w1 .. wn EOS and anything behind -> unit vectors [N, E].

        A text without EOS is cut short: EOS takes the place of its last token.
        """
        text = self.config.text
        words = [self._up_to_end(row) for row in tokens.tolist()]
        groups = [words[first : first + GROUP] for first in range(0, len(words), GROUP)]
        tree = PrefixTree.of(groups, bos_id=text.bos_id, pad_id=text.eos_id, device=tokens.device)
        x = self.token_embedding(tree.input_ids) + self.text_positions[tree.positions]
        for block in self.text_blocks:
            x = block(x, tree.visible)
        ends = tree.rows[tree.lengths.cumsum(dim=0) - 1]
        last = self.text_norm(x[tree.is_real][ends])
        return F.normalize(self.text_projection(last), dim=-1)

    def _up_to_end(self, row: list[int]) -> list[int]:
        """W1 .. wn EOS of one text."""
        eos = self.config.text.eos_id
        return [*row[1 : row.index(eos) if eos in row else -1], eos]

    def forward(self, pixel_values: Tensor, tokens: Tensor) -> Tensor:
        """Logits of every image with every text, [B, N]."""
        images, texts = self.embed_images(pixel_values), self.embed_texts(tokens)
        return self.logit_scale.exp() * images @ texts.T


class Spells(Protocol):
    """A tokenizer: text to ids without special tokens, and back."""

    def encode(self, caption: str) -> list[int]:
        """Ids of one caption."""
        ...

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of the ids."""
        ...


@dataclass(frozen=True)
class CaptionTokens:
    """The captioner's tokens, as the evaluator is given them.

    Attributes:
        max_tokens: That the evaluator reads at most, EOS included.
    """

    max_tokens: int
    bos_id: int
    eos_id: int
    pad_id: int


class PublicEvaluator(nn.Module):
    """A public CLIP that answers the calls of `dico.evaluators.clip.Clip`."""

    def __init__(
        self,
        clip: PublicClip,
        tokens: CaptionTokens,
        *,
        shares_tower: bool,
        tokenizers: tuple[Spells, Spells] | None,
    ) -> None:
        """Joins a CLIP to a captioner.

        Args:
            clip: In eval mode.
            tokens: Of the captioner.
            shares_tower: Whether its vision tower is the captioner's; if not, a `JointTower`
                carries its image embeddings behind the features.
            tokenizers: The captioner's and CLIP's; None where both have the same ids.
        """
        super().__init__()
        self.clip = clip
        self.config = tokens
        self.shares_tower = shares_tower
        self._tokenizers = tokenizers

    @property
    def token_embedding(self) -> nn.Embedding:
        """Of the text tower; tells the device."""
        return self.clip.token_embedding

    def embed_images(self, features: Tensor) -> Tensor:
        """Features of the version's tower [B, S, F] -> unit vectors [B, E]."""
        if self.shares_tower:
            return self.clip.embed_features(features)
        width = self.clip.config.embed_width
        rows = math.ceil(width / features.shape[-1])
        return features[:, -rows:].flatten(1)[:, :width]

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """The captioner's ids w1 .. wn EOS PAD .. [N, T] -> unit vectors [N, E]."""
        text = self.clip.config.text
        if self._tokenizers is None:
            tokens = tokens[:, : text.max_tokens - 1].masked_fill(
                tokens[:, : text.max_tokens - 1] == self.config.pad_id, text.eos_id
            )
            start = tokens.new_full((len(tokens), 1), text.bos_id)
            return self.clip.embed_texts(torch.cat([start, tokens], dim=1))
        captions, own = self._tokenizers
        rows = [
            [text.bos_id, *own.encode(captions.decode(self._words(row)))][: text.max_tokens - 1]
            for row in tokens.tolist()
        ]
        longest = max(len(row) for row in rows) + 1
        ids = [row + [text.eos_id] * (longest - len(row)) for row in rows]
        return self.clip.embed_texts(torch.tensor(ids, device=tokens.device))

    def _words(self, row: list[int]) -> list[int]:
        return row[: row.index(self.config.eos_id)] if self.config.eos_id in row else row
