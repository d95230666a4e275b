"""Figures of the base model on held-out scenes: what it says that is right, wrong or missing."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import Any

import torch
from scenes.checker import check, shares
from scenes.composer import draw_scene
from scenes.grammar import caption
from scenes.sampler import sample_scene
from scenes.scene import Scene

from dico.captioner import Captioner, CaptionerConfig, pad_captions
from dico.evaluators.clip import Clip
from dico.pretraining.bank import corrupted_caption
from dico.pretraining.tower import HELD_OUT_SEED, normalise, to_pixels
from dico.search import beam_search
from dico.tokenizer import Tokenizer
from dico.tower import Tower


@torch.no_grad()
def tower_features(tower: Tower, scenes: list[Scene], style: str) -> torch.Tensor:
    """Features of the scenes as one artist draws them, [B, S, F]."""
    size = tower.config.image_size
    return torch.cat(
        [
            tower(normalise(to_pixels(draw_scene(scene, style, size, augment=False))[None]))
            for scene in scenes
        ]
    )


@torch.no_grad()
def measure_captioner(
    tower: Tower, captioner: Captioner, tokenizer: Tokenizer, style: str, count: int = 200
) -> dict[str, Any]:
    """Shares of the checker over beam-search captions of held-out scenes."""
    scenes = [sample_scene(HELD_OUT_SEED + number) for number in range(count)]
    checks = []
    for start in range(0, count, 20):
        features = tower_features(tower, scenes[start : start + 20], style)
        found = beam_search(captioner, captioner.encode(features))
        for scene, candidates in zip(scenes[start : start + 20], found, strict=True):
            checks.append(check(tokenizer.decode(candidates[0].tokens), scene))
    return asdict(shares(checks, scenes))


@torch.no_grad()
def measure_evaluator(
    clip: Clip, tower: Tower, tokenizer: Tokenizer, style: str, count: int = 200
) -> dict[str, float]:
    """Retrieval among 100, and how often a right caption scores above its corruption."""
    scenes = [sample_scene(HELD_OUT_SEED + 10_000 + number) for number in range(count)]
    images = clip.embed_images(tower_features(tower, scenes, style))

    def embed(texts: list[str]) -> torch.Tensor:
        config = CaptionerConfig(vocab_size=tokenizer.vocab_size)
        return clip.embed_texts(pad_captions([tokenizer.encode(t) for t in texts], config)[1])

    right = embed([caption(scene, random.Random(n)) for n, scene in enumerate(scenes)])
    wrong = embed([corrupted_caption(scene, n) for n, scene in enumerate(scenes)])
    found = [
        (images[start : start + 100] @ right[start : start + 100].T).argmax(dim=1)
        == torch.arange(len(images[start : start + 100]))
        for start in range(0, count, 100)
    ]
    above = (images * right).sum(dim=1) > (images * wrong).sum(dim=1)
    return {
        "recall_at_1_of_100": float(torch.cat(found).float().mean()),
        "right_above_corrupted": float(above.float().mean()),
    }
