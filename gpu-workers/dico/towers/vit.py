"""The Vision Transformer of ViT, DeiT, CLIP and BLIP (arXiv:2010.11929) as a frozen visual tower.

It reads the one preprocessing of `dico.pixels`, (x - .5) / .5; a public model that was trained
with another mean and deviation has the difference folded into its patch embedding.

Axes: B images, S the image's side in pixels, T tokens, H heads, D head width, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dico.captioner import split_heads
from dico.pixels import MEAN, STD

Activation = Literal["gelu", "quick_gelu"]


@dataclass(frozen=True)
class VitConfig:
    """Sizes and variants; the defaults are CLIP's ViT-L/14 as arXiv:2408.14547 reads it.

    Attributes:
        image_size: Side of the square input in pixels, a multiple of `patch_size`.
        patch_size: Side of a patch in pixels.
        width: Of a token.
        layers: Transformer blocks.
        heads: Attention heads; they divide `width`.
        ffn: Width between the two linear layers of a block.
        activation: Exact gelu, or OpenAI's x * sigmoid(1.702 x).
        class_token: A learnt token before the patches.
        distillation_token: DeiT's second one.
        pre_norm: A normalisation before the first block (CLIP).
        final_norm: A normalisation after the last block (ViT, DeiT, BLIP).
        eps: Of every normalisation.
    """

    image_size: int = 224
    patch_size: int = 14
    width: int = 1024
    layers: int = 24
    heads: int = 16
    ffn: int = 4096
    activation: Activation = "quick_gelu"
    class_token: bool = True
    distillation_token: bool = False
    pre_norm: bool = True
    final_norm: bool = False
    eps: float = 1e-5

    def __post_init__(self) -> None:
        """Refuses sizes that do not fit together.

        Raises:
            ValueError: A size is not positive, or does not divide what it has to.
        """
        if min(self.image_size, self.patch_size, self.width, self.layers, self.heads, self.ffn) < 1:
            raise ValueError("every size of a tower is positive")
        if self.image_size % self.patch_size or self.width % self.heads:
            raise ValueError("patches have to fill the image, and heads the width")
        if self.activation not in ("gelu", "quick_gelu"):
            raise ValueError(f"a tower has no activation {self.activation}")

    @property
    def prefix_tokens(self) -> int:
        """Learnt tokens before the patches."""
        return int(self.class_token) + int(self.distillation_token)

    @property
    def feature_width(self) -> int:
        """Width of one token's features."""
        return self.width

    @property
    def feature_tokens(self) -> int:
        """Tokens of one image, learnt ones included."""
        return (self.image_size // self.patch_size) ** 2 + self.prefix_tokens


class Block(nn.Module):
    """Attention and MLP, each with its normalisation before and its residual around it."""

    def __init__(
        self, width: int, heads: int, ffn: int, activation: Activation, eps: float
    ) -> None:
        super().__init__()
        self.heads = heads
        self.activation: Activation = activation
        self.ln_1 = nn.LayerNorm(width, eps=eps)
        self.attention = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width, eps=eps)
        self.intermediate = nn.Linear(width, ffn)
        self.output = nn.Linear(ffn, width)

    def forward(self, x: Tensor, visible: Tensor | None = None) -> Tensor:
        """[B, T, d] -> [B, T, d]; visible: which tokens see which, [B, 1, T, T]; None means all."""
        query, key, value = (
            split_heads(part, self.heads) for part in self.attention(self.ln_1(x)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(query, key, value, visible)
        x = x + self.attention_output(attended.transpose(1, 2).flatten(2))
        return x + self.output(activate(self.intermediate(self.ln_2(x)), self.activation))


class VisionTransformer(nn.Module):
    """Pixels to one feature vector per patch, learnt tokens first."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        width, eps = config.width, config.eps
        self.patch_embedding = nn.Conv2d(3, width, config.patch_size, config.patch_size)
        self.prefix_embedding = nn.Parameter(torch.randn(config.prefix_tokens, width) * 0.02)
        self.position_embedding = nn.Parameter(torch.randn(config.feature_tokens, width) * 0.02)
        self.pre_norm = nn.LayerNorm(width, eps=eps) if config.pre_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            Block(width, config.heads, config.ffn, config.activation, eps)
            for _ in range(config.layers)
        )
        self.final_norm = nn.LayerNorm(width, eps=eps) if config.final_norm else nn.Identity()

    @property
    def feature_width(self) -> int:
        """Width of one token's features."""
        return self.config.feature_width

    @property
    def feature_tokens(self) -> int:
        """Tokens of one image."""
        return self.config.feature_tokens

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, 3, S, S] pixels in [-1, 1] -> features [B, feature_tokens, feature_width]."""
        patches = self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)  # [B, T, d]
        prefix = self.prefix_embedding.expand(len(patches), -1, -1)
        x = self.pre_norm(torch.cat([prefix, patches], dim=1) + self.position_embedding)
        for block in self.blocks:
            x = block(x)
        return self.final_norm(x)

    @torch.no_grad()
    def fold_preprocessing(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Rewrites the patch embedding, made for (x - mean) / std, to read (x - .5) / .5.

        Exact: the patches have no padding, so a channel's offset is the same for each of them.

        Args:
            mean: Of the pixels in [0, 1], one for each of three channels.
            std: Likewise.
        """
        bias = self.patch_embedding.bias
        assert bias is not None
        weight = self.patch_embedding.weight.double()
        scale = torch.tensor([STD / deviation for deviation in std], dtype=torch.float64)
        shift = torch.tensor(
            [(MEAN - centre) / deviation for centre, deviation in zip(mean, std, strict=True)],
            dtype=torch.float64,
        )
        bias.add_(torch.einsum("oihw,i->o", weight, shift).to(bias.dtype))
        self.patch_embedding.weight.copy_(weight * scale[:, None, None])


def activate(x: Tensor, activation: Activation) -> Tensor:
    """Exact gelu, or OpenAI's x * sigmoid(1.702 x); any shape."""
    return x * torch.sigmoid(1.702 * x) if activation == "quick_gelu" else F.gelu(x)
