"""A version opened for training: tower, captioner, tokenizer and evaluators from its folder."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from dico.captioner import Captioner, CaptionerConfig
from dico.evaluators.clip import Clip
from dico.evaluators.public_clip import CaptionTokens, PublicEvaluator
from dico.evaluators.public_storage import is_public_clip, load_public_clip
from dico.evaluators.storage import load_evaluators
from dico.export.training_state import VisualTower, load_training_state
from dico.tokenizer import Tokenizer
from dico.towers.joint import AnyTower, JointTower

EVALUATORS = "training/evaluators.safetensors"
# CLIP's own tokenizer, where the captioner has another.
EVALUATOR_TOKENIZER = "training/evaluator_tokenizer.json"


@dataclass(frozen=True)
class BaseVersion:
    """Everything frozen that a job starts from.

    Attributes:
        folder: Where it lies.
        manifest_sha256: Its identity.
        tower_sha256: Digest of what features are computed with; names the feature cache.
        device: Where its modules are.
    """

    folder: Path
    manifest_sha256: str
    tower_sha256: str
    tower: AnyTower
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
            FileNotFoundError: It has none, or no evaluator.
        """
        tower, captioner = load_training_state(folder)
        tokenizer = Tokenizer.load(folder / "tokenizer.json")
        evaluators = folder / EVALUATORS
        if not evaluators.exists():
            raise FileNotFoundError(f"{folder} has no evaluator, which learning needs")
        joint: AnyTower = tower
        tower_sha256 = file_sha256(folder / "training" / "model.safetensors")
        if is_public_clip(evaluators):
            public, joint = _public_evaluator(folder, tower, captioner.config, tokenizer)
            # It answers the same calls as ours: images from features, texts from tokens.
            clip = pac = cast("Clip", public)
        else:
            clip, pac = load_evaluators(evaluators)
        if joint is not tower:
            both = f"{tower_sha256}/{file_sha256(evaluators)}"
            tower_sha256 = hashlib.sha256(both.encode()).hexdigest()
        for module in (joint, captioner, clip, pac):
            module.to(device).eval().requires_grad_(False)
        return cls(
            folder=folder,
            manifest_sha256=file_sha256(folder / "manifest.json"),
            tower_sha256=tower_sha256,
            tower=joint,
            captioner=captioner,
            tokenizer=tokenizer,
            clip=clip,
            pac=pac,
            device=device,
        )


def _public_evaluator(
    folder: Path, tower: VisualTower, config: CaptionerConfig, tokenizer: Tokenizer
) -> tuple[PublicEvaluator, AnyTower]:
    """The evaluator of an imported version, and the tower that gives what it looks at."""
    clip, shares_tower = load_public_clip(folder / EVALUATORS, tower)
    own = folder / EVALUATOR_TOKENIZER
    tokenizers = (tokenizer, Tokenizer.load(own)) if own.exists() else None
    longest = config.max_tokens if tokenizers else clip.config.text.max_tokens - 1
    tokens = CaptionTokens(longest, config.bos_id, config.eos_id, config.pad_id)
    evaluator = PublicEvaluator(clip, tokens, shares_tower=shares_tower, tokenizers=tokenizers)
    return evaluator, tower if shares_tower else JointTower(tower, clip)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal, read in pieces: towers may be large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
