"""A version opened for training: tower, captioner, tokenizer and evaluators from its folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from dico.captioner import Captioner
from dico.evaluators.clip import Clip
from dico.evaluators.storage import load_evaluators
from dico.export.training_state import load_training_state
from dico.tokenizer import Tokenizer
from dico.tower import Tower


@dataclass(frozen=True)
class BaseVersion:
    """Everything frozen that a job starts from.

    Attributes:
        folder: Where it lies.
        manifest_sha256: Its identity.
        tower_sha256: Digest of the file that holds the tower; names the feature cache.
        device: Where its modules are.
    """

    folder: Path
    manifest_sha256: str
    tower_sha256: str
    tower: Tower
    captioner: Captioner
    tokenizer: Tokenizer
    clip: Clip
    pac: Clip
    device: torch.device

    @property
    def image_size(self) -> int:
        """Side of the tower's input in pixels."""
        return self.tower.config.image_size

    @classmethod
    def open(cls, folder: Path, device: torch.device) -> BaseVersion:
        """Loads a version that carries its training state.

        Raises:
            FileNotFoundError: It has none.
        """
        tower, captioner = load_training_state(folder)
        clip, pac = load_evaluators(folder / "training" / "evaluators.safetensors")
        for module in (tower, captioner, clip, pac):
            module.to(device).eval().requires_grad_(False)
        return cls(
            folder=folder,
            manifest_sha256=_digest(folder / "manifest.json"),
            tower_sha256=_digest(folder / "training" / "model.safetensors"),
            tower=tower,
            captioner=captioner,
            tokenizer=Tokenizer.load(folder / "tokenizer.json"),
            clip=clip,
            pac=pac,
            device=device,
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
