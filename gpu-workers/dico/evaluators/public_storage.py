"""A public CLIP in one safetensors file, sizes in its metadata; fp16."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from dico.evaluators.public_clip import PublicClip, PublicClipConfig, TextConfig
from dico.towers.vit import VisionTransformer, VitConfig

KIND = "public-clip"


def save_public_clip(path: Path, clip: PublicClip, *, with_vision: bool = True) -> None:
    """Writes the weights as fp16.

    Args:
        path: Of the file.
        clip: Whole.
        with_vision: Left out where the captioner's tower is the same.

    Raises:
        ValueError: A weight is not finite in fp16.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, value in clip.state_dict().items():
        if with_vision or not name.startswith("vision."):
            tensors[name] = value.half().contiguous()
            if not bool(torch.isfinite(tensors[name]).all()):
                raise ValueError(f"{name} holds a value that fp16 cannot")
    metadata = {"kind": KIND, "config": json.dumps(asdict(clip.config))}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


def is_public_clip(path: Path) -> bool:
    """Whether `save_public_clip` wrote the file."""
    with safe_open(path, "pt") as file:
        return (file.metadata() or {}).get("kind") == KIND


def load_public_clip(path: Path, tower: torch.nn.Module | None = None) -> tuple[PublicClip, bool]:
    """Reads a CLIP, in eval mode.

    Args:
        path: Of the file.
        tower: The captioner's; becomes the vision tower of a file without one.

    Returns:
        The CLIP, and whether its vision tower is the captioner's.

    Raises:
        ValueError: The file has no vision tower, and the captioner's is of another shape.
    """
    with safe_open(path, "pt") as file:
        config = _config(json.loads((file.metadata() or {})["config"]))
        tensors = {name: file.get_tensor(name).float() for name in list(file.keys())}
    clip = PublicClip(config)
    shares = not any(name.startswith("vision.") for name in tensors)
    if shares:
        if not isinstance(tower, VisionTransformer) or tower.config != config.vision:
            raise ValueError(f"{path.name} needs the tower that it was stored with")
        clip.vision = tower
        tensors |= {f"vision.{name}": value for name, value in tower.state_dict().items()}
    clip.load_state_dict(tensors)
    return clip.eval().requires_grad_(False), shares


def _config(values: dict[str, Any]) -> PublicClipConfig:
    return PublicClipConfig(
        VitConfig(**values["vision"]), TextConfig(**values["text"]), values["embed_width"]
    )
