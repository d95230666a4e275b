"""The feature bank: scenes seen once by the frozen tower, with their captions.

Training the captioner and the evaluators reads it, so the tower runs once per picture.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from scenes.composer import TRAINING_STYLES, draw_scene, style_of
from scenes.grammar import human_captions
from scenes.sampler import sample_scene, union_box
from scenes.scene import Group, Scene
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from dico.pretraining.tower import normalise, to_pixels
from dico.tower import Tower

BANK_SEED = 100_000_000
BATCH = 64


@cache
def bank_scene(row: int) -> Scene:
    """The scene of a row of the bank."""
    return sample_scene(BANK_SEED + row)


def centre_of(group: Group) -> tuple[float, float]:
    """Column and row of a group's centre, -1 to 1 from left to right and from top to bottom."""
    left, top, right, bottom = union_box(group)
    return left + right - 1, top + bottom - 1


class Bank:
    """Grid features fp16 [N, S, C] on disk and N entries of human captions."""

    def __init__(self, folder: Path) -> None:
        self.entries: list[dict[str, list[str]]] = json.loads((folder / "bank.json").read_text())
        self.grids: np.ndarray = np.load(folder / "bank.npy", mmap_mode="r")
        self.views: np.ndarray = np.load(folder / "views.npy", mmap_mode="r")

    def features(self, tower: Tower, rows: np.ndarray, views: bool = False) -> Tensor:
        """Rows of the bank as the tower would give them, [len(rows), S, feature_width]."""
        grids = (self.views if views else self.grids)[rows]
        with torch.no_grad():
            return tower.with_kinds(torch.from_numpy(grids.astype(np.float32)))


class _Seen(IterableDataset[tuple[Tensor, Tensor]]):
    """Grids of the scenes as the tower sees them, in batches, split over the loader's workers."""

    def __init__(self, tower: Tower, count: int, views: bool) -> None:
        self._tower, self._count, self._views = tower, count, views

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        torch.set_num_threads(1)
        worker = get_worker_info()
        own, step = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for start in range(own * BATCH, self._count, step * BATCH):
            rows = range(start, min(start + BATCH, self._count))
            pixels = torch.stack([self._draw(row) for row in rows])
            with torch.no_grad():
                yield self._tower.grid(normalise(pixels)).half(), torch.tensor(rows)

    def _draw(self, row: int) -> Tensor:
        scene = sample_scene(BANK_SEED + row)
        style = None
        if self._views:  # the same scene as another artist would draw it
            others = [name for name in TRAINING_STYLES if name != style_of(scene)]
            style = others[row % len(others)]
        return to_pixels(draw_scene(scene, style))


def build_bank(tower: Tower, folder: Path, *, count: int, views: int, workers: int = 2) -> None:
    """Writes `bank.npy`, `views.npy` and `bank.json`, or those of them that are missing.

    Args:
        tower: Folded, in eval mode.
        folder: Where to write.
        count: Scenes.
        views: How many of them are drawn a second time in another style.
        workers: Processes that draw and look.
    """
    for name, number in (("views", views), ("bank", count)):
        path = folder / f"{name}.npy"
        if not path.exists():
            _see(tower, path, number, name == "views", workers)
    entries = [{"human": human_captions(sample_scene(BANK_SEED + row))} for row in range(count)]
    partial = folder / "bank.json.partial"
    partial.write_text(json.dumps(entries))
    partial.rename(folder / "bank.json")


def _see(tower: Tower, path: Path, count: int, views: bool, workers: int) -> None:
    partial = path.with_suffix(".partial")
    shape = (count, tower.config.cells**2, tower.config.widths[-1])
    grids = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
    loader = DataLoader(_Seen(tower, count, views), None, num_workers=workers)
    for done, (seen, rows) in enumerate(loader):
        grids[rows.numpy()] = seen.numpy()
        if done % 50 == 0:
            print(f"{path.stem}: {done * BATCH} of {count}", flush=True)
    grids.flush()
    partial.rename(path)
