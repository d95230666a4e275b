"""A captioner's tower with an evaluator beside it that looks at the pixels with a tower of its own.

Features are computed once per image and cached; an evaluator of another tower than the captioner's
has its image embedding computed in the same pass and carried in rows behind the features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dico.evaluators.public_clip import PublicClip
from dico.tower import Tower, TowerConfig
from dico.towers.vit import VisionTransformer, VitConfig


class JointTower(nn.Module):
    """Features of the captioner's tower, then the evaluator's embedding of the same image."""

    def __init__(self, tower: Tower | VisionTransformer, clip: PublicClip) -> None:
        super().__init__()
        self.tower = tower
        self.clip = clip

    @property
    def config(self) -> TowerConfig | VitConfig:
        """Of the captioner's tower, whose pixels are the input."""
        return self.tower.config

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, 3, S, S] pixels in [-1, 1] -> features [B, feature_tokens + rows, feature_width]."""
        features = self.tower(pixel_values)
        return torch.cat([features, pack(self.clip.embed_images(pixel_values), features)], dim=1)


AnyTower = Tower | VisionTransformer | JointTower


def pack(embeddings: Tensor, features: Tensor) -> Tensor:
    """Embeddings [B, E] in as few rows as hold them, of the width of features [B, S, F]."""
    width = features.shape[-1]
    rows = math.ceil(embeddings.shape[1] / width)
    padded = F.pad(embeddings, (0, rows * width - embeddings.shape[1]))
    return padded.view(len(embeddings), rows, width)


def feature_tokens(config: TowerConfig | VitConfig) -> int:
    """Tokens that a tower gives of one image."""
    return config.cells**2 if isinstance(config, TowerConfig) else config.feature_tokens
