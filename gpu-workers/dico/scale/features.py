"""The frozen tower's features, computed once per image and kept on disk by the image's digest.

526 KB an image for ViT-L/14 in fp16. A cached feature is the tower's own rounded to fp16, and so is
a fresh one, so a training does not depend on what the cache held when it began.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dico.scale.lanes import Item


def weights_digest(module: nn.Module) -> str:
    """SHA-256 over names and values of everything in the module's state, hexadecimal."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


class FeatureCache:
    """Which images' features are there; cheap to copy into a reading process."""

    def __init__(self, folder: Path) -> None:
        """Args: folder: of one tower's features; two towers must not share it."""
        self._folder = folder

    def has(self, sha256: str) -> bool:
        """Whether the features of an image are there."""
        return self._path(sha256).exists()

    def get(self, sha256: str) -> np.ndarray:
        """fp16 [S, F].

        Raises:
            OSError: They are not there.
            ValueError: The file is not one that `put` wrote.
        """
        return np.load(self._path(sha256), allow_pickle=False)

    def put(self, sha256: str, features: np.ndarray) -> None:
        """Keeps fp16 [S, F]; two processes may do so at once."""
        path = self._path(sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        with partial.open("wb") as file:
            np.save(file, features, allow_pickle=False)
        os.replace(partial, path)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / f"{sha256}.npy"


class Features:
    """Gives the features of items, from the cache where they are there."""

    def __init__(self, tower: nn.Module, cache: FeatureCache, device: torch.device) -> None:
        """Args: tower: frozen, in eval mode, on the device; cache: its own."""
        self._tower, self._cache, self._device = tower, cache, device

    @torch.no_grad()
    def of(self, items: Sequence[Item], *, bf16: bool) -> Tensor:
        """Features [B, S, F] in fp32 on the device; the tower runs at most once for all that lack.

        Args:
            items: An item without pixels has to be in the cache.
            bf16: Whether the tower computes in bf16.
        """
        new = [item for item in items if not self._cache.has(item.sha256)]
        if new:
            pixels = torch.stack([torch.from_numpy(item.pixels) for item in new]).to(self._device)
            with torch.autocast(self._device.type, torch.bfloat16, enabled=bf16):
                fresh = self._tower(pixels).half().cpu().numpy()
            for item, each in zip(new, fresh, strict=True):
                self._cache.put(item.sha256, each)
        rows = np.stack([self._cache.get(item.sha256) for item in items])
        return torch.from_numpy(rows).to(self._device).float()
