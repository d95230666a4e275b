"""A small CLIP on the frozen tower, and PAC-S / CLIP-S computed from it.

The PAC evaluator is the same network with other projections (`dico.pretraining.evaluators`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dico.captioner import EncoderLayer, attend, split_heads

CLIP_S_WEIGHT = 2.5
PAC_S_WEIGHT = 2.0


@dataclass(frozen=True)
class ClipConfig:
    """Sizes of the evaluator."""

    feature_width: int = 457
    feature_tokens: int = 64
    width: int = 128
    heads: int = 4
    ffn: int = 256
    text_layers: int = 2
    text_reach: int = 6
    moments: int = 6
    vocab_size: int = 1024
    max_tokens: int = 34
    bos_id: int = 0
    eos_id: int = 1
    pad_id: int = 2


class Neighbours(nn.Module):
    """The product of each token with what stands around it, before it and after it apart.

    "left of" after a noun puts it to the left and before a noun to the right: a product of noun
    and direction, which attention would first have to build. The doubled word, the swap and the
    cut are products too.
    """

    def __init__(self, width: int, reach: int) -> None:
        """Args: width: of a token, d; reach: how many tokens are seen on either side."""
        super().__init__()
        self.own = nn.Linear(width, width)
        self.around = nn.Conv1d(width, width, 2 * reach + 1, padding=reach)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, d] -> [N, T, d]."""
        return self.own(x) * self.around(x.transpose(1, 2)).transpose(1, 2)


class Clip(nn.Module):
    """Two towers into one space of twice the width: what is there, and how it is laid out.

    The first half is CLIP's own, from a learnt query over the grid and from the caption's end. The
    second compares moments of the grid (signed sums over its cells, which keep how much there is
    of a thing and on which side) with all that the caption says; relations and counts need it.
    """

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.image_input = nn.Linear(config.feature_width, width)
        self.image_positions = nn.Parameter(torch.randn(config.feature_tokens, width) * 0.3)
        self.image_layer = EncoderLayer(width, config.heads, config.ffn)
        self.image_query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.image_key_value = nn.Linear(width, 2 * width)
        self.image_norm = nn.LayerNorm(width)
        moments = min(config.moments, config.feature_tokens)  # a grid has no more waves than cells
        self.image_moments = nn.Parameter(waves(moments, config.feature_tokens))
        self.image_projection = nn.Linear(width, width, bias=False)
        # What is seen, weighed left against right and top against bottom; not through attention,
        # which tells every cell what lies in the others.
        sides = waves(min(3, config.feature_tokens), config.feature_tokens)[1:]
        self.register_buffer("side_waves", sides, persistent=False)
        self.image_sides = nn.Linear(config.feature_width, width, bias=False)
        pooled = (1 + moments + len(sides)) * width
        self.image_layout_projection = nn.Linear(pooled, width, bias=False)
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.text_positions = nn.Parameter(torch.randn(config.max_tokens, width) * 0.3)
        self.text_neighbours = Neighbours(width, config.text_reach)
        self.text_pairs = nn.Linear(width, width)
        self.text_layers = nn.ModuleList(
            EncoderLayer(width, config.heads, config.ffn) for _ in range(config.text_layers)
        )
        self.text_norm = nn.LayerNorm(width)
        self.text_projection = nn.Linear(width, width, bias=False)
        self.text_layout_projection = nn.Linear(3 * width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def pool_images(self, features: Tensor) -> Tensor:
        """Tower features [B, S, F] -> what the projections see, [B, (1 + moments + 2) * width]."""
        x = self.image_layer(self.image_input(features) + self.image_positions)
        key, value = self.image_key_value(x).chunk(2, dim=-1)
        query = split_heads(self.image_query.expand(x.shape[0], -1, -1), self.config.heads)
        heads = self.config.heads
        pooled = attend(query, split_heads(key, heads), split_heads(value, heads)).squeeze(1)
        moments = (self.image_moments @ x).flatten(1)  # [B, moments * width]
        moments = F.layer_norm(moments, moments.shape[1:])
        return torch.cat([self.image_norm(pooled), moments, self.pool_sides(features)], dim=1)

    def pool_sides(self, features: Tensor) -> Tensor:
        """What lies left rather than right, and above rather than below, [B, 2 * width]."""
        sides = (self.side_waves @ self.image_sides(features)).flatten(1)
        return F.layer_norm(sides, sides.shape[1:])

    def pool_texts(self, tokens: Tensor) -> Tensor:
        """Token ids [N, T], w1 .. wn EOS PAD .. -> what the projections see, [N, 3 * width]."""
        visible = tokens != self.config.pad_id  # [N, T]
        pairs, layout = self.pool_neighbours(tokens)
        x = self.token_embedding(tokens) + self.text_positions[: tokens.shape[1]]
        x = x + self.text_pairs(pairs)
        for layer in self.text_layers:
            x = layer(x, visible[:, None, None, :])
        end = (tokens == self.config.eos_id).int().argmax(dim=1)
        last = self.text_norm(x[torch.arange(len(x), device=x.device), end])
        mean = (x * visible[..., None]).sum(dim=1) / visible.sum(dim=1, keepdim=True)
        return torch.cat([last, mean, layout], dim=1)

    def pool_neighbours(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Products of neighbouring words [N, T, width], and their normalised sum [N, width]."""
        visible = (tokens != self.config.pad_id)[..., None]  # [N, T, 1]
        pairs = self.text_neighbours(self.token_embedding(tokens) * visible) * visible
        return pairs, F.layer_norm(pairs.sum(dim=1), pairs.shape[2:])

    def project_images(self, pooled: Tensor) -> Tensor:
        """What `pool_images` gives -> unit vectors [B, 2 * width]."""
        whole = self.image_projection(pooled[:, : self.config.width])
        return F.normalize(torch.cat([whole, self.image_layout_projection(pooled)], dim=1), dim=-1)

    def project_texts(self, pooled: Tensor) -> Tensor:
        """What `pool_texts` gives -> unit vectors [N, 2 * width]."""
        whole = self.text_projection(pooled[:, : self.config.width])
        return F.normalize(torch.cat([whole, self.text_layout_projection(pooled)], dim=1), dim=-1)

    def embed_images(self, features: Tensor) -> Tensor:
        """[B, S, F] -> unit vectors [B, 2 * width]."""
        return self.project_images(self.pool_images(features))

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """[N, T] -> unit vectors [N, 2 * width]."""
        return self.project_texts(self.pool_texts(tokens))


def waves(number: int, cells: int) -> Tensor:
    """The first cosines over a square grid, each of mean square 1 / cells, [number, cells].

    They begin with the mean, then left against right and top against bottom.

    Args:
        number: How many.
        cells: Of the grid; one that is not square is read as a line.
    """
    side = math.isqrt(cells)
    width, height = (side, side) if side * side == cells else (cells, 1)
    across, down = (
        torch.cos(torch.pi * torch.arange(length)[:, None] * (torch.arange(length) + 0.5) / length)
        for length in (width, height)
    )
    orders = sorted(
        ((row, column) for row in range(height) for column in range(width)),
        key=lambda order: (order[0] + order[1], order[0]),
    )
    chosen = [torch.outer(down[row], across[column]).flatten() for row, column in orders[:number]]
    return torch.stack([F.normalize(wave, dim=0) for wave in chosen])


def pac_score(clip: Clip, features: Tensor, tokens: Tensor) -> Tensor:
    """PAC-S of each caption for its picture (arXiv:2303.12112), 2 * max(cosine, 0).

    Args:
        clip: The PAC evaluator, in eval mode.
        features: Tower features [B, S, F].
        tokens: w1 .. wn EOS PAD .., [B * K, T]; the K captions of a picture adjacent.

    Returns:
        [B, K].
    """
    images = clip.embed_images(features)  # [B, d]
    texts = clip.embed_texts(tokens).view(len(images), -1, images.shape[1])  # [B, K, d]
    return PAC_S_WEIGHT * (texts @ images[..., None]).squeeze(-1).clamp(min=0)
