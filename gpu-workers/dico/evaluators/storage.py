"""Both evaluators in one safetensors file: CLIP whole, of PAC only the projections that differ."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from dico.evaluators.clip import Clip, ClipConfig

_PROJECTIONS = tuple(
    f"{name}.weight"
    for name in (
        "image_projection",
        "image_layout_projection",
        "text_projection",
        "text_layout_projection",
    )
)


def save_evaluators(path: Path, clip: Clip, pac: Clip) -> None:
    """Writes fp16 weights; the sizes stand in the file's metadata."""
    tensors = {f"clip.{name}": tensor.half() for name, tensor in clip.state_dict().items()}
    tensors |= {f"pac.{name}": pac.state_dict()[name].half() for name in _PROJECTIONS}
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()},
        path,
        metadata={"config": json.dumps(asdict(clip.config))},
    )


def load_evaluators(path: Path) -> tuple[Clip, Clip]:
    """Reads CLIP and PAC, in eval mode.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not one that `save_evaluators` of this version wrote.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            if "config" not in metadata:
                raise ValueError(f"{path.name} holds no evaluator sizes")
            config = ClipConfig(**json.loads(metadata["config"]))
            tensors = {name: file.get_tensor(name).float() for name in list(file.keys())}
        shared = {k.removeprefix("clip."): v for k, v in tensors.items() if k.startswith("clip.")}
        own = {k.removeprefix("pac."): v for k, v in tensors.items() if k.startswith("pac.")}
        clip, pac = Clip(config), Clip(config)
        clip.load_state_dict(shared)
        pac.load_state_dict(shared | own)
    except (SafetensorError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path.name} holds other evaluators: {error}") from error
    return clip.eval().requires_grad_(False), pac.eval().requires_grad_(False)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
