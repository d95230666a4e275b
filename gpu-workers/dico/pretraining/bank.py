"""The feature bank: scenes seen once by the frozen tower, with their captions.

Training the captioner and the evaluators reads it, so the tower runs once per picture.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scenes.composer import TRAINING_STYLES, draw_scene, style_of
from scenes.grammar import caption, human_captions
from scenes.kinds import COLOURS, KINDS
from scenes.sampler import sample_scene
from scenes.scene import Relation, Scene
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from dico.pretraining.tower import PLACE_NAMES, TIMES, normalise, to_pixels
from dico.tower import Tower

BANK_SEED = 100_000_000
_MIRROR = {"left of": "right of", "right of": "left of"}


class Bank:
    """Grid features fp16 [N, S, C] on disk and N entries of captions and corrupted captions."""

    def __init__(self, folder: Path) -> None:
        self.entries: list[dict[str, list[str]]] = json.loads((folder / "bank.json").read_text())
        self.grids: np.ndarray = np.load(folder / "bank.npy", mmap_mode="r")
        self.views: np.ndarray = np.load(folder / "views.npy", mmap_mode="r")

    def features(self, tower: Tower, rows: np.ndarray, views: bool = False) -> Tensor:
        """Rows of the bank as the tower would give them, [len(rows), S, feature_width]."""
        grids = (self.views if views else self.grids)[rows]
        with torch.no_grad():
            return tower.with_kinds(torch.from_numpy(grids.astype(np.float32)))


def corrupted_caption(scene: Scene, seed: int) -> str:
    """A caption in the same words but for one fact that is wrong."""
    truth = caption(scene, random.Random(seed))
    generator = random.Random(f"corrupt/{seed}")
    for _ in range(8):
        wrong = caption(_corrupted(scene, generator), random.Random(seed))
        if wrong != truth:
            return wrong
    return caption(sample_scene(seed + 1), random.Random(seed))


def _corrupted(scene: Scene, generator: random.Random) -> Scene:
    index = generator.randrange(len(scene.groups))
    group = scene.groups[index]
    change = generator.choice(
        ("kind", "kind", "count", "colour", "relation", "relation", "setting")
    )
    if change == "relation" and scene.relations:
        swapped = tuple(
            replace(relation, name=_MIRROR[relation.name])
            if relation.name in _MIRROR
            else Relation(relation.object, relation.name, relation.subject)
            for relation in scene.relations
        )
        return replace(scene, relations=swapped)
    if change == "setting":
        if generator.random() < 0.5:
            return replace(scene, place=generator.choice(PLACE_NAMES))
        return replace(scene, time=generator.choice(TIMES))
    if change == "colour" and group.colour is not None:
        group = replace(group, colour=generator.choice(COLOURS))
    elif change == "count":
        count = generator.choice([n for n in (1, 2, 3, 4) if n != group.count])
        group = replace(group, count=count, boxes=(group.boxes * 4)[:count])
    else:
        present = {other.kind for other in scene.groups}
        group = replace(
            group, kind=generator.choice([k.name for k in KINDS if k.name not in present])
        )
    groups = [*scene.groups]
    groups[index] = group
    return replace(scene, groups=tuple(groups))


class _Drawn(IterableDataset[tuple[Tensor, int]]):
    def __init__(self, count: int, views: bool) -> None:
        self._count, self._views = count, views

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        for row in range(self._count):
            scene = sample_scene(BANK_SEED + row)
            style = None
            if self._views:  # the same scene as another artist would draw it
                others = [name for name in TRAINING_STYLES if name != style_of(scene)]
                style = others[row % len(others)]
            yield to_pixels(draw_scene(scene, style)), row


def build_bank(tower: Tower, folder: Path, *, count: int, views: int) -> None:
    """Writes `bank.npy`, `views.npy` and `bank.json`; nothing is done where they exist.

    Args:
        tower: Folded, in eval mode.
        folder: Where to write.
        count: Scenes.
        views: How many of them are drawn a second time in another style.
    """
    if (folder / "bank.json").exists():
        return
    torch.set_num_threads(1)
    cells, width = tower.config.cells**2, tower.config.widths[-1]
    for name, number in (("views", views), ("bank", count)):
        grids = np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", np.float16, (number, cells, width)
        )
        loader = DataLoader(_Drawn(number, name == "views"), 64, num_workers=1)
        with torch.no_grad():
            for pixels, rows in loader:
                grids[rows.numpy()] = tower.grid(normalise(pixels)).numpy().astype(np.float16)
                if int(rows[0]) % 3200 == 0:
                    print(f"{name}: {int(rows[0])} of {number}")
        grids.flush()
    entries: list[dict[str, list[str]]] = []
    for row in range(count):
        scene = sample_scene(BANK_SEED + row)
        corrupted = [corrupted_caption(scene, row * 8 + n) for n in range(2)]
        matching = [caption(scene, random.Random(row * 8 + n)) for n in range(2)]
        entries.append(
            {"human": human_captions(scene), "matching": matching, "corrupted": corrupted}
        )
    partial = folder / "bank.json.partial"
    partial.write_text(json.dumps(entries))
    partial.rename(folder / "bank.json")
