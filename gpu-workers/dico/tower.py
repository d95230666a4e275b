"""The visual tower: pixels to a grid of features, trained once and frozen ever after.

A small residual network. Beside its features it tells, for each cell of the grid, which kind of
thing is there; the captioner and the evaluators read both.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class TowerConfig:
    """Shape of the tower.

    Attributes:
        image_size: Side of the square input in pixels; four halvings give the grid.
        widths: Channels of the stem and of the three residual stages.
        num_kinds: Kinds that can be told apart; one more class means background.
    """

    image_size: int = 128
    widths: tuple[int, int, int, int] = (32, 64, 128, 256)
    num_kinds: int = 200

    @property
    def cells(self) -> int:
        """Cells along one side of the grid."""
        return self.image_size // 16

    @property
    def feature_width(self) -> int:
        """Width of one cell's features: the last stage's channels and the kind probabilities."""
        return self.widths[-1] + self.num_kinds + 1


class ConvNorm(nn.Module):
    """A 3x3 or 1x1 convolution with BatchNorm, which `fold` merges into the convolution."""

    def __init__(self, channels_in: int, channels_out: int, size: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, size, stride, size // 2, bias=True)
        self.norm: nn.BatchNorm2d | nn.Identity = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, H / stride, W / stride]."""
        return self.norm(self.conv(x))

    def fold(self) -> None:
        """Merges the normalisation's running statistics into the convolution; for inference."""
        if isinstance(self.norm, nn.Identity):
            return
        bias = self.conv.bias
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert bias is not None
        assert mean is not None
        assert variance is not None
        scale = self.norm.weight / torch.sqrt(variance + self.norm.eps)
        with torch.no_grad():
            self.conv.weight.mul_(scale[:, None, None, None])
            bias.sub_(mean).mul_(scale).add_(self.norm.bias)
        self.norm = nn.Identity()

    def unfold(self, mean: Tensor, variance: Tensor) -> None:
        """Puts a normalisation back that changes nothing yet; for further training.

        Args:
            mean: Of the convolution's output on training pictures, [C_out].
            variance: Likewise.
        """
        norm = nn.BatchNorm2d(len(mean))
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_(torch.sqrt(variance + norm.eps))
            norm.bias.copy_(mean)
        self.norm = norm


class ResidualBlock(nn.Module):
    """Two convolutions beside a projected shortcut; the first halves the picture."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.first = ConvNorm(channels_in, channels_out, 3, 2)
        self.second = ConvNorm(channels_out, channels_out, 3, 1)
        self.shortcut = ConvNorm(channels_in, channels_out, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, H, W] -> [B, C_out, H/2, W/2]."""
        return F.relu(self.second(F.relu(self.first(x))) + self.shortcut(x))


class Tower(nn.Module):
    """Pixels to grid features and, for each cell, which kind is there."""

    def __init__(self, config: TowerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = ConvNorm(3, config.widths[0], 3, 2)
        self.stages = nn.Sequential(
            *(ResidualBlock(a, b) for a, b in zip(config.widths, config.widths[1:], strict=False))
        )
        self.kind_head = nn.Linear(config.widths[-1], config.num_kinds + 1)

    def grid(self, pixel_values: Tensor) -> Tensor:
        """[B, 3, S, S] normalised pixels -> [B, cells * cells, C], row by row."""
        return self.stages(F.relu(self.stem(pixel_values))).flatten(2).transpose(1, 2)

    def with_kinds(self, grid: Tensor) -> Tensor:
        """[B, cells * cells, C] -> the same with the kind probabilities beside, [..., C + 201]."""
        return torch.cat([grid, self.kind_head(grid).softmax(dim=-1)], dim=-1)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """[B, 3, S, S] normalised pixels -> features [B, cells * cells, feature_width]."""
        return self.with_kinds(self.grid(pixel_values))

    def fold(self) -> Tower:
        """Merges every BatchNorm into its convolution; call once, after training."""
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fold()
        return self

    @torch.no_grad()
    def unfold(self, pixel_values: Tensor) -> Tower:
        """Gives a folded tower its BatchNorms back, for further training.

        Args:
            pixel_values: Pictures whose statistics the normalisations start from, [B, 3, S, S].
        """
        convolutions = [module for module in self.modules() if isinstance(module, ConvNorm)]
        order: list[ConvNorm] = []
        seen: list[Tensor] = []

        def note(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            assert isinstance(module, ConvNorm)  # registered on these alone; folded: no norm
            order.append(module)
            seen.append(output)

        hooks = [module.register_forward_hook(note) for module in convolutions]
        self.grid(pixel_values)
        for hook in hooks:
            hook.remove()
        for module, output in zip(order, seen, strict=True):
            module.unfold(output.mean(dim=(0, 2, 3)), output.var(dim=(0, 2, 3)))
        return self
