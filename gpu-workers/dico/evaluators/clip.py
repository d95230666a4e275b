"""A small CLIP on the frozen tower, and PAC-S / CLIP-S computed from it.

The PAC evaluator is the same network with other projections (`dico.pretraining.evaluators`).
"""

from __future__ import annotations

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
    vocab_size: int = 1024
    max_tokens: int = 34
    bos_id: int = 0
    eos_id: int = 1
    pad_id: int = 2


class Clip(nn.Module):
    """Two towers into one space: the grid with positions, and the caption's tokens."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.image_input = nn.Linear(config.feature_width, width)
        self.image_positions = nn.Parameter(torch.randn(config.feature_tokens, width) * 0.02)
        self.image_layer = EncoderLayer(width, config.heads, config.ffn)
        # A learnt query reads the grid: a mean would lose where things are, hence relations.
        self.image_query = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.image_key_value = nn.Linear(width, 2 * width)
        self.image_norm = nn.LayerNorm(width)
        self.image_projection = nn.Linear(width, width, bias=False)
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.text_positions = nn.Parameter(torch.randn(config.max_tokens, width) * 0.02)
        self.text_layers = nn.ModuleList(
            EncoderLayer(width, config.heads, config.ffn) for _ in range(config.text_layers)
        )
        self.text_norm = nn.LayerNorm(width)
        self.text_projection = nn.Linear(width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def pool_images(self, features: Tensor) -> Tensor:
        """Tower features [B, S, F] -> what the projection sees, [B, width]."""
        x = self.image_layer(self.image_input(features) + self.image_positions)
        key, value = self.image_key_value(x).chunk(2, dim=-1)
        query = split_heads(self.image_query.expand(x.shape[0], -1, -1), self.config.heads)
        heads = self.config.heads
        pooled = attend(query, split_heads(key, heads), split_heads(value, heads))
        return self.image_norm(pooled.squeeze(1))

    def pool_texts(self, tokens: Tensor) -> Tensor:
        """Token ids [N, T], w1 .. wn EOS PAD .. -> what the projection sees, [N, width]."""
        x = self.token_embedding(tokens) + self.text_positions[: tokens.shape[1]]
        visible = (tokens != self.config.pad_id)[:, None, None, :]
        for layer in self.text_layers:
            x = layer(x, visible)
        end = (tokens == self.config.eos_id).int().argmax(dim=1)
        return self.text_norm(x[torch.arange(len(x), device=x.device), end])

    def embed_images(self, features: Tensor) -> Tensor:
        """[B, S, F] -> unit vectors [B, width]."""
        return F.normalize(self.image_projection(self.pool_images(features)), dim=-1)

    def embed_texts(self, tokens: Tensor) -> Tensor:
        """[N, T] -> unit vectors [N, width]."""
        return F.normalize(self.text_projection(self.pool_texts(tokens)), dim=-1)


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
