"""Figures of the base model on held-out scenes: what it says that is right, wrong or missing."""

from __future__ import annotations

import random
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from scenes.checker import Check, check, shares
from scenes.composer import draw_scene
from scenes.grammar import caption
from scenes.sampler import sample_scene
from scenes.scene import Scene

from dico.captioner import Captioner
from dico.evaluators.clip import Clip
from dico.parallel import map_forked
from dico.pretraining.corruptions import ERRORS, Corruptor
from dico.pretraining.streams import evaluator_tokens
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


Checked = list[tuple[Check, Scene]]


def check_captions(
    tower: Tower, captioner: Captioner, tokenizer: Tokenizer, style: str, scenes: range
) -> Checked:
    """Beam-search captions of held-out scenes, by number, held against them."""

    @torch.no_grad()
    def checked(numbers: range) -> Checked:
        drawn = [sample_scene(HELD_OUT_SEED + number) for number in numbers]
        found = beam_search(captioner, captioner.encode(tower_features(tower, drawn, style)))
        return [
            (check(tokenizer.decode(best.tokens), scene), scene)
            for scene, (best, *_) in zip(drawn, found, strict=True)
        ]

    chunks = [scenes[start : start + 20] for start in range(0, len(scenes), 20)]
    return [each for part in map_forked(checked, chunks) for each in part]


def captioner_figures(checked: Checked) -> dict[str, Any]:
    """The checker's shares and `said_figures`."""
    checks, scenes = (list(each) for each in zip(*checked, strict=True))
    return asdict(shares(checks, scenes)) | said_figures(checks, scenes)


def said_figures(checks: list[Check], scenes: list[Scene]) -> dict[str, Any]:
    """What a base model is held to beside the checker's shares; `checks` belong to `scenes`.

    Returns:
        `kinds_recalled`: groups of things named, of all groups, in captions of any grammar;
        `once`: captions that are grammatical and name no kind twice;
        `counts_right`: for each number said, how often as many are there;
        `relation_said`: captions with a relation, of the scenes with two groups or more.
    """
    groups = named = once = several = related = 0
    numbers: dict[int, list[bool]] = {}
    for each, scene in zip(checks, scenes, strict=True):
        by_kind = {group.kind: group for group in scene.groups}
        mentions = () if each.parsed is None else each.parsed.mentions
        kinds = [mention.kind for mention in mentions]
        groups += len(scene.groups)
        named += len(by_kind.keys() & set(kinds))
        once += each.parsed is not None and len(set(kinds)) == len(kinds)
        if len(scene.groups) > 1:
            several += 1
            related += each.parsed is not None and bool(each.parsed.relations)
        for mention in mentions:
            if mention.kind in by_kind and mention.count is not None and mention.count > 1:
                right = by_kind[mention.kind].count == mention.count
                numbers.setdefault(mention.count, []).append(right)
    return {
        "kinds_recalled": named / groups,
        "once": once / len(checks),
        "counts_right": {str(n): sum(each) / len(each) for n, each in sorted(numbers.items())},
        "relation_said": related / max(several, 1),
    }


@torch.no_grad()
def measure_evaluator(
    clip: Clip, tower: Tower, tokenizer: Tokenizer, style: str, count: int = 200
) -> dict[str, Any]:
    """How well an evaluator tells true captions of held-out scenes from others.

    Returns:
        `recall_at_1_of_100`: share of pictures that find their own caption among 100;
        `by_error`: for each error, the share of `count` pairs where the picture scores its true
        caption above the same with the error; `right_above_corrupted`: the mean of these.
    """
    scenes = [sample_scene(HELD_OUT_SEED + 10_000 + number) for number in range(4 * count)]
    corruptors = [Corruptor(scene, caption(scene, random.Random(scene.seed))) for scene in scenes]
    pairs: dict[str, list[tuple[int, str]]] = {}
    for error in ERRORS:
        offered = (
            (index, text)
            for index, corruptor in enumerate(corruptors)
            if (text := corruptor.corrupted(error, index)) is not None
        )
        pairs[error] = list(islice(offered, count))
    used = 1 + max(index for each in pairs.values() for index, _ in each)
    images = clip.embed_images(tower_features(tower, scenes[:used], style))

    def embed(texts: list[str]) -> torch.Tensor:
        return clip.embed_texts(evaluator_tokens(tokenizer, texts))

    right = embed([corruptor.caption for corruptor in corruptors[:used]])
    own = (images * right).sum(dim=1)
    by_error: dict[str, float] = {}
    for error, each in pairs.items():
        rows = torch.tensor([index for index, _ in each])
        wrong = embed([text for _, text in each])
        by_error[error] = float((own[rows] > (images[rows] * wrong).sum(dim=1)).float().mean())
    found = [
        (images[start : start + 100] @ right[start : start + 100].T).argmax(dim=1)
        == torch.arange(100)
        for start in range(0, used - 99, 100)
    ]
    return {
        "recall_at_1_of_100": float(torch.cat(found).float().mean()),
        "right_above_corrupted": sum(by_error.values()) / len(by_error),
        "by_error": by_error,
    }
