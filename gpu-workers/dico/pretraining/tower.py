"""Trains the visual tower: which kind is where, first on collages, then on scenes.

Contrastive or caption losses from scratch stall on small hardware; a class in each grid cell gives
64 answers a picture and does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scenes.composer import TRAINING_STYLES, cells_from_boxes, draw_collage, draw_scene, kind_cells
from scenes.kinds import COLOURS, INDEX_BY_NAME
from scenes.places import PLACES
from scenes.sampler import Box, sample_scene
from scenes.scene import Scene
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from dico.pretraining.clock import FURTHER, Budget, RunningMeans, warm_cosine
from dico.tower import Tower, TowerConfig

TIMES = ("day", "night", "dawn", "sunset")
WEATHERS = ("clear", "rain", "snow", "fog")
PLACE_NAMES = tuple(PLACES)
# Seeds from here on are kept for evaluation; training draws below.
HELD_OUT_SEED = 1_000_000_000
IGNORE = -100
COLLAGE_SHARE = 0.5
# Scenes keep their colours' names: the captions say them.
COLLAGE_RECOLOUR, SCENE_RECOLOUR = 0.8, 0.2


@dataclass(frozen=True)
class Sample:
    """One picture with what is to be told about it.

    Attributes:
        pixels: uint8 [3, S, S].
        kinds: Class in each cell, [cells * cells].
        colours: Colour in each cell, IGNORE where it was not chosen.
        centres: 1 where a thing's centre lies, [cells * cells].
        setting: Place, time, weather; IGNORE on collages.
    """

    pixels: Tensor
    kinds: Tensor
    colours: Tensor
    centres: Tensor
    setting: Tensor


def to_pixels(image: object) -> Tensor:
    """RGB picture -> uint8 [3, S, S]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def normalise(pixels: Tensor) -> Tensor:
    """uint8 [B, 3, S, S] -> float in [-1, 1], as `preprocessor_config.json` says."""
    return (pixels.float() / 255 - 0.5) / 0.5


def recoloured(pixel_values: Tensor, strength: float) -> Tensor:
    """Pictures as other artists might have coloured them, each its own way: [B, 3, S, S].

    Shapes carry over to an art style that was never seen, palettes do not.

    Args:
        pixel_values: As `normalise` gives them.
        strength: 0 changes nothing; 1 hardly leaves a colour's name.
    """

    def draw(low: float, high: float) -> Tensor:
        return torch.empty(len(pixel_values), 1, 1, 1).uniform_(low, high)

    grey = pixel_values.mean(dim=1, keepdim=True)
    saturation = draw(1 - 0.8 * strength, 1 + 0.4 * strength)
    gains = torch.empty(len(pixel_values), 3, 1, 1).uniform_(1 - 0.5 * strength, 1 + 0.3 * strength)
    shift = torch.empty(len(pixel_values), 3, 1, 1).uniform_(-0.3 * strength, 0.3 * strength)
    turned = grey + saturation * (pixel_values - grey)
    # Some change channels: a green dog is a dog.
    swaps = torch.rand(len(pixel_values)) < 0.5 * strength * strength
    turned = torch.where(swaps[:, None, None, None], turned[:, torch.randperm(3)], turned)
    return (turned * gains + shift).clamp(-1, 1)


def _centres(boxes: list[Box], cells: int) -> Tensor:
    marks = torch.zeros(cells, cells)
    for left, top, right, bottom in boxes:
        column = min(max(int((left + right) / 2 * cells), 0), cells - 1)
        marks[min(max(int((top + bottom) / 2 * cells), 0), cells - 1), column] = 1.0
    return marks.flatten()


def collage_sample(seed: int, config: TowerConfig) -> Sample:
    """Many things, no order: teaches what kinds look like."""
    grid = (2, 3, 3, 4, 4, 4)[seed % 6]
    image, things = draw_collage(seed, grid, size=config.image_size)
    cells = config.cells
    kinds = torch.from_numpy(cells_from_boxes(things, cells).astype(np.int64)).flatten()
    nothing = torch.full((cells * cells,), IGNORE)
    boxes = [box for _, box in things]
    return Sample(
        to_pixels(image), kinds, nothing, _centres(boxes, cells), torch.full((3,), IGNORE)
    )


def scene_sample(scene: Scene, config: TowerConfig, style: str | None = None) -> Sample:
    """One scene as it will be met."""
    cells = config.cells
    kinds = torch.from_numpy(kind_cells(scene, cells).astype(np.int64)).flatten()
    colours = torch.full((cells * cells,), IGNORE)
    for group in scene.groups:
        if group.colour is not None:
            colours[kinds == INDEX_BY_NAME[group.kind]] = COLOURS.index(group.colour)
    setting = torch.tensor(
        [
            PLACE_NAMES.index(scene.place),
            TIMES.index(scene.time),
            WEATHERS.index(scene.weather),
        ]
    )
    boxes = [box for group in scene.groups for box in group.boxes]
    image = draw_scene(scene, style, config.image_size)
    return Sample(to_pixels(image), kinds, colours, _centres(boxes, cells), setting)


class _Stream(IterableDataset[tuple[Tensor, ...]]):
    """Endless samples from a seed on; never one of the held-out seeds."""

    def __init__(self, config: TowerConfig, collages: bool, start: int) -> None:
        self._config, self._collages, self._start = config, collages, start

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for seed in range(self._start, HELD_OUT_SEED):
            sample = (
                collage_sample(seed, self._config)
                if self._collages
                else scene_sample(sample_scene(seed), self._config)
            )
            yield sample.pixels, sample.kinds, sample.colours, sample.centres, sample.setting


class TowerHeads(nn.Module):
    """What only training asks for: centres, colours, place, time and weather."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.centre = nn.Linear(width, 1)
        self.colour = nn.Linear(width, len(COLOURS))
        self.setting = nn.ModuleList(
            nn.Linear(width, size) for size in (len(PLACE_NAMES), len(TIMES), len(WEATHERS))
        )

    def loss(self, grid: Tensor, colours: Tensor, centres: Tensor, setting: Tensor) -> Tensor:
        """Sum of the side losses of a batch; grid [B, cells * cells, C]."""
        loss = F.binary_cross_entropy_with_logits(
            self.centre(grid).squeeze(-1), centres, pos_weight=torch.tensor(4.0)
        )
        if bool((colours != IGNORE).any()):
            loss = loss + 0.3 * F.cross_entropy(self.colour(grid).flatten(0, 1), colours.flatten())
        if bool((setting != IGNORE).any()):
            pooled = grid.mean(dim=1)
            for index, head in enumerate(self.setting):
                loss = loss + 0.1 * F.cross_entropy(head(pooled), setting[:, index])
        return loss


def train_tower(
    folder: Path,
    *,
    minutes: float,
    seed: int,
    start: Tower | None = None,
    threads: int = 1,
    batch: int = 20,
    learning_rate: float = 1.5e-3,
) -> Tower:
    """Trains until the minutes are spent, or goes on where an interrupted run stopped.

    Args:
        folder: Holds the checkpoint `tower.pt`.
        minutes: Budget; the first part on collages, the rest on scenes.
        seed: Decides initial weights and samples.
        start: A folded tower to train further; None begins anew.
        threads: Of PyTorch.
        batch: Pictures a step; small ones matter here.
        learning_rate: Peak, twice: once for collages, once for scenes.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    learning_rate *= 1.0 if start is None else FURTHER
    config = TowerConfig() if start is None else start.config
    tower = Tower(config) if start is None else start
    heads = TowerHeads(config.widths[-1])
    if start is not None:
        first = [scene_sample(sample_scene(seed * 50_000_000 + n), config) for n in range(256)]
        start.requires_grad_(True).unfold(normalise(torch.stack([s.pixels for s in first])))
    for parameter in tower.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    parameters = [*tower.parameters(), *heads.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=0.02)
    budget = Budget(
        folder / "tower.pt",
        minutes,
        lambda: {
            "tower": tower.state_dict(),
            "heads": heads.state_dict(),
            "optimiser": optimiser.state_dict(),
        },
    )
    saved = budget.restore()
    if saved is not None:
        tower.load_state_dict(saved["tower"])
        heads.load_state_dict(saved["heads"])
        optimiser.load_state_dict(saved["optimiser"])
    class_weights = torch.ones(config.num_kinds + 1)
    class_weights[-1] = 0.25
    means = RunningMeans()
    steps = budget.steps(report=lambda: str(means))
    tower.train()
    stream: Iterator[tuple[Tensor, ...]] | None = None
    on_collages = budget.share < COLLAGE_SHARE
    for share in steps:
        collages = share < COLLAGE_SHARE
        if stream is None or collages != on_collages:
            on_collages = collages
            first_seed = seed * 50_000_000 + budget.step * batch
            loader = DataLoader(
                _Stream(config, collages, first_seed), batch, num_workers=1, prefetch_factor=4
            )
            stream = iter(loader)
        phase = share / COLLAGE_SHARE if collages else (share - COLLAGE_SHARE) / (1 - COLLAGE_SHARE)
        factor = warm_cosine(phase) * (1.0 if collages else 0.8)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * factor
        pixels, kinds, colours, centres, setting = next(stream)
        pixel_values = recoloured(
            normalise(pixels), COLLAGE_RECOLOUR if collages else SCENE_RECOLOUR
        )
        grid = tower.grid(pixel_values.contiguous(memory_format=torch.channels_last))
        logits = tower.kind_head(grid)
        loss = F.cross_entropy(logits.flatten(0, 1), kinds.flatten(), class_weights)
        loss = loss + heads.loss(grid, colours, centres, setting)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        things = kinds != config.num_kinds
        right = (logits.argmax(-1) == kinds)[things].float().mean()
        means.add({"loss": loss, "cells": right})
    return tower.eval()


@torch.no_grad()
def cell_accuracy(tower: Tower, style: str, count: int = 200) -> float:
    """Share of the cells holding a thing whose kind the tower names, on held-out scenes."""
    right = total = 0
    for seed in range(HELD_OUT_SEED, HELD_OUT_SEED + count):
        sample = scene_sample(sample_scene(seed), tower.config, style)
        logits = tower.kind_head(tower.grid(normalise(sample.pixels[None])))[0]
        things = sample.kinds != tower.config.num_kinds
        right += int((logits.argmax(-1) == sample.kinds)[things].sum())
        total += int(things.sum())
    return right / max(total, 1)


def report_tower(tower: Tower, held_out_style: str) -> dict[str, float]:
    """Cell accuracy on each training style and on the style never trained on."""
    return {style: cell_accuracy(tower, style) for style in (*TRAINING_STYLES, held_out_style)}
