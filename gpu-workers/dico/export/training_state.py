"""What further training starts from: a version's exact weights as fp16 safetensors."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dico.captioner import Captioner, CaptionerConfig
from dico.tower import Tower, TowerConfig
from dico.towers.vit import VisionTransformer, VitConfig

# What the configuration of a version older than them leaves out; it means the default.
_VARIANTS = frozenset({"projected", "decoder", "head_bias"})

VisualTower = Tower | VisionTransformer
Kind = type[TowerConfig | VitConfig | CaptionerConfig]

WEIGHTS, CONFIG = "training/model.safetensors", "training/config.json"


@torch.no_grad()
def round_to_fp16(module: nn.Module) -> None:
    """Rounds each parameter and buffer, in place, to the nearest float32 that fp16 can hold.

    Done once before export, it makes the fp16 file hold exactly the weights that are served.

    Raises:
        ValueError: A weight is not finite, or too large for fp16.
    """
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            rounded = value.half().to(value.dtype)
            if not bool(torch.isfinite(rounded).all()):
                raise ValueError(f"{name} holds a value that fp16 cannot")
            value.copy_(rounded)


def save_training_state(folder: Path, tower: VisualTower, captioner: Captioner) -> None:
    """Writes `training/model.safetensors` and `training/config.json`.

    Raises:
        ValueError: The weights are not rounded, or the tower is not folded.
    """
    tensors = {
        f"{prefix}.{name}": value
        for prefix, module in (("tower", tower), ("captioner", captioner))
        for name, value in module.state_dict().items()
    }
    for name, value in tensors.items():
        if not torch.equal(value.half().to(value.dtype), value):
            raise ValueError(f"{name} is not rounded to fp16")
        if "running_mean" in name:
            raise ValueError("fold the tower before saving it")
    (folder / WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
    halves = {name: value.detach().cpu().half().contiguous() for name, value in tensors.items()}
    save_file(halves, folder / WEIGHTS)
    kind = {"type": "vit"} if isinstance(tower, VisionTransformer) else {}
    config = {"tower": kind | asdict(tower.config), "captioner": asdict(captioner.config)}
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")


def load_training_state(
    folder: Path, device: torch.device | str = "cpu"
) -> tuple[VisualTower, Captioner]:
    """The tower, folded, and the captioner of a version folder, float32 and in eval mode.

    Raises:
        FileNotFoundError: The version was published without its training state.
        ValueError: A key of the configuration is unknown or missing.
        RuntimeError: The weights do not fit the configuration.
    """
    config = json.loads((folder / CONFIG).read_text())
    tower = _tower(config["tower"])
    captioner = Captioner(CaptionerConfig(**_settings(config["captioner"], CaptionerConfig)))
    tensors = load_file(folder / WEIGHTS)
    for prefix, module in (("tower.", tower), ("captioner.", captioner)):
        module.load_state_dict(
            {
                name.removeprefix(prefix): value.float()
                for name, value in tensors.items()
                if name.startswith(prefix)
            }
        )
        module.to(device).eval()
    return tower, captioner


def _tower(values: dict[str, Any]) -> VisualTower:
    if values.get("type") == "vit":
        sizes = {name: value for name, value in values.items() if name != "type"}
        return VisionTransformer(VitConfig(**_settings(sizes, VitConfig)))
    return Tower(TowerConfig(**_settings(values, TowerConfig))).fold()


def _settings(values: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """What a dataclass of that kind is made from, JSON's lists as tuples again."""
    names = {field.name for field in fields(kind)}
    if not names - _VARIANTS <= set(values) <= names:
        raise ValueError(f"{CONFIG} does not describe a {kind.__name__}")
    return {
        name: tuple(cast("list[int]", value)) if isinstance(value, list) else value
        for name, value in values.items()
    }
