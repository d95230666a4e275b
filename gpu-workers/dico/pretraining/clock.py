"""A training budget in minutes that survives interruption, with progress and checkpoints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

# Of the learning rate, where trained weights are trained further.
FURTHER = 0.7


class Budget:
    """Counts the seconds spent training and keeps them with the checkpoint.

    The learning rate follows the share of the budget spent, so that any budget ends well.
    """

    def __init__(self, path: Path, minutes: float, state: Callable[[], dict[str, Any]]) -> None:
        """Args: path: the checkpoint; minutes: the budget; state: what a checkpoint holds."""
        self._path, self._seconds, self._state = path, minutes * 60, state
        self._spent, self.step = 0.0, 0

    def restore(self) -> dict[str, Any] | None:
        """The state of an interrupted training, or None at the first start."""
        if not self._path.exists():
            return None
        saved = torch.load(self._path, weights_only=True)
        self._spent, self.step = saved["spent"], saved["step"]
        return saved["state"]

    @property
    def share(self) -> float:
        """Share of the budget spent, 0-1."""
        return min(self._spent / self._seconds, 1.0)

    def steps(self, *, save_every: float = 60.0, report: Callable[[], str]) -> Iterator[float]:
        """Yields the share spent, once per step, until nothing is left."""
        last, saved = time.monotonic(), self._spent
        while self._spent < self._seconds:
            yield self.share
            self.step += 1
            now = time.monotonic()
            self._spent, last = self._spent + now - last, now
            if self._spent - saved > save_every:
                saved = self._spent
                self.save()
                print(f"{self._spent:6.0f} s of {self._seconds:.0f}  step {self.step}  {report()}")
        self.save()

    def save(self) -> None:
        """Writes the checkpoint; a crash in between leaves the previous one whole."""
        partial = self._path.with_suffix(".partial")
        torch.save({"spent": self._spent, "step": self.step, "state": self._state()}, partial)
        os.replace(partial, self._path)


class RunningMeans:
    """Exponential means of figures over some fifty steps, for a line of progress."""

    def __init__(self) -> None:
        self._means: dict[str, float] = {}

    def add(self, figures: dict[str, torch.Tensor]) -> None:
        """Counts one step; a name's first value is its first mean."""
        for name, figure in figures.items():
            value = float(figure.detach())
            mean = self._means.get(name, value)
            self._means[name] = mean + 0.02 * (value - mean)

    def __str__(self) -> str:
        """Names and means, in the order in which they came."""
        return " ".join(f"{name} {value:.5f}" for name, value in self._means.items())


def warm_cosine(share: float, warm_up: float = 0.03) -> float:
    """Factor on the learning rate: linear warm-up, then a cosine down to 2 %."""
    if share < warm_up:
        return share / warm_up + 1e-3
    angle = torch.tensor((share - warm_up) / (1 - warm_up) * torch.pi)
    return 0.02 + 0.98 * 0.5 * (1 + float(torch.cos(angle)))
