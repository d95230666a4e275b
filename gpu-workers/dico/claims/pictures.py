"""The scenes that all methods train on and are measured on, seen once by tower and evaluators."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from scenes.composer import HELD_OUT_STYLE, draw_scene
from scenes.grammar import human_captions
from scenes.sampler import sample_scene
from scenes.scene import Scene
from torch import Tensor

from dico.base_version import BaseVersion
from dico.captioner import Captioner
from dico.pretraining.tower import HELD_OUT_SEED, normalise, to_pixels
from dico.search import beam_search

SetName = Literal["train", "validation", "seen", "held_out"]
# No scene from here on was met in pre-training. "seen" and "held_out" are the same scenes, drawn
# in the training's art styles and in the one that nothing was trained on.
FIRST_SEED: dict[SetName, int] = {
    "train": HELD_OUT_SEED + 5_000_000,
    "validation": HELD_OUT_SEED + 5_100_000,
    "seen": HELD_OUT_SEED + 5_200_000,
    "held_out": HELD_OUT_SEED + 5_200_000,
}
STYLE: dict[SetName, str | None] = {
    "train": None,
    "validation": None,
    "seen": None,
    "held_out": HELD_OUT_STYLE,
}
AT_ONCE = 16


@dataclass(frozen=True)
class Pictures:
    """N scenes; every tensor's first axis is N, on the CPU.

    Attributes:
        scenes: What is to be described.
        human_captions: Five of each.
        features: The tower's, [N, S, F].
        hidden: The base's encoder states, [N, S, d].
        base_captions: What the base says of each.
        clip: CLIP's image embeddings, unit vectors [N, e].
        pac: PAC's.
    """

    scenes: list[Scene]
    human_captions: list[list[str]]
    features: Tensor
    hidden: Tensor
    base_captions: list[str]
    clip: Tensor
    pac: Tensor

    def __len__(self) -> int:
        """N."""
        return len(self.scenes)

    def first(self, count: int) -> Pictures:
        """The first of them, at least one."""
        count = max(count, 1)
        return Pictures(**{name: value[:count] for name, value in vars(self).items()})


def see_all(base: BaseVersion, counts: dict[SetName, int], path: Path) -> None:
    """Draws every set and writes what tower, encoder and evaluators see of it; done once."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save({name: _see(base, name, count) for name, count in counts.items()}, partial)
    partial.rename(path)


def load_pictures(path: Path, name: SetName) -> Pictures:
    """One set of those that `see_all` wrote; several processes share the memory."""
    tensors = torch.load(path, weights_only=True, mmap=True)[name]
    seeds = range(FIRST_SEED[name], FIRST_SEED[name] + len(tensors["features"]))
    scenes = [sample_scene(seed) for seed in seeds]
    return Pictures(scenes, [human_captions(scene) for scene in scenes], **tensors)


@torch.no_grad()
def _see(base: BaseVersion, name: SetName, count: int) -> dict[str, Any]:
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for start in range(0, count, AT_ONCE):
        seeds = range(FIRST_SEED[name] + start, FIRST_SEED[name] + min(start + AT_ONCE, count))
        drawn = [
            draw_scene(sample_scene(seed), STYLE[name], base.image_size, augment=False)
            for seed in seeds
        ]
        features = base.tower(normalise(torch.stack([to_pixels(image) for image in drawn])))
        hidden = base.captioner.encode(features)
        parts.append(
            (features, hidden, base.clip.embed_images(features), base.pac.embed_images(features))
        )
    features, hidden, clip, pac = (torch.cat(column) for column in zip(*parts, strict=True))
    captions = [] if name == "train" else captions_of(base, base.captioner, hidden)
    return {
        "features": features,
        "hidden": hidden,
        "base_captions": captions,
        "clip": clip,
        "pac": pac,
    }


@torch.no_grad()
def captions_of(base: BaseVersion, captioner: Captioner, hidden: Tensor) -> list[str]:
    """The best of five beams for each image: encoder states [N, S, d] -> N texts."""
    found = [
        image[0].tokens
        for start in range(0, len(hidden), AT_ONCE)
        for image in beam_search(captioner, hidden[start : start + AT_ONCE])
    ]
    return [base.tokenizer.decode(tokens) for tokens in found]
