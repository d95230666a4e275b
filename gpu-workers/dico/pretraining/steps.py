"""The steps that make the base version, each resumable: `python -m dico pretrain STEP`."""

from __future__ import annotations

import base64
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scenes.composer import HELD_OUT_STYLE, TRAINING_STYLES, draw_scene
from scenes.grammar import human_captions
from scenes.kinds import KINDS
from scenes.sampler import sample_scene

from dico.base_version import EVALUATORS
from dico.captioner import Captioner, CaptionerConfig
from dico.evaluators.storage import file_digest, load_evaluators, save_evaluators
from dico.export.layout import write_version
from dico.export.manifest import public_key
from dico.export.training_state import load_training_state, round_to_fp16
from dico.pretraining.bank import BANK_SEED, build_bank
from dico.pretraining.captioner import train_captioner
from dico.pretraining.evaluators import train_clip, train_pac
from dico.pretraining.facts import train_on_facts
from dico.pretraining.measure import captioner_figures, check_captions, measure_evaluator
from dico.pretraining.tower import (
    HELD_OUT_SEED,
    normalise,
    report_tower,
    to_pixels,
    train_tower,
)
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig

VOCABULARY_SCENES = 6_000
# Held-out scenes, in the seen styles together and in the held-out one.
MEASURED = 1_000
PROBE_SEED = HELD_OUT_SEED + 900_000


def tower(
    folder: Path, minutes: float, seed: int, start: Path | None = None, threads: int = 1
) -> None:
    """Trains the tower and prints how often it names the right kind, by art style."""
    published = None if start is None else published_models(start)[0]
    trained = train_tower(folder, minutes=minutes, seed=seed, start=published, threads=threads)
    _write_figures(folder, "tower", report_tower(trained, HELD_OUT_STYLE))


def frozen_tower(folder: Path, published: Tower | None = None) -> Tower:
    """The tower trained in this folder as it will be published, or the one that there is.

    Args:
        folder: Of the steps.
        published: Of the version that is trained further; it stays where the folder has none.

    Returns:
        Folded, rounded to fp16, without gradient.
    """
    if published is not None and not (folder / "tower.pt").exists():
        return published
    saved = torch.load(folder / "tower.pt", weights_only=True)["state"]["tower"]
    trained = Tower(TowerConfig())
    trained.load_state_dict(saved)
    trained.eval().fold().requires_grad_(False)
    round_to_fp16(trained)
    return trained


def published_models(version: Path) -> tuple[Tower, Captioner]:
    """Tower and captioner of a version that sees with a tower of the built-in kind."""
    published, captions = load_training_state(version)
    if not isinstance(published, Tower):
        raise ValueError(f"{version} does not see with a tower of the built-in kind")
    return published.eval().requires_grad_(False), captions


def keep_tokenizer(folder: Path, start: Path) -> None:
    """A captioner that is trained further keeps the vocabulary of the version it starts from."""
    (folder / "tokenizer.json").write_bytes((start / "tokenizer.json").read_bytes())


def bank(folder: Path, count: int, start: Path | None = None) -> None:
    """Learns the vocabulary and runs the tower over the scenes; a fifth is drawn twice."""
    if start is not None:
        keep_tokenizer(folder, start)
        seeing = frozen_tower(folder, published_models(start)[0])
        build_bank(seeing, folder, count=count, views=count // 5)
        return
    captions = [
        caption
        for row in range(VOCABULARY_SCENES)
        for caption in human_captions(sample_scene(BANK_SEED + row))
    ]
    every_kind = [f"a {kind.name}, {kind.name}" for kind in KINDS]
    tokenizer = Tokenizer.train(captions + every_kind)
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    build_bank(frozen_tower(folder), folder, count=count, views=count // 5)


def captioner(folder: Path, minutes: float, seed: int, start: Path | None = None) -> None:
    """Pre-trains the captioner with cross-entropy."""
    seeing, published = (None, None) if start is None else published_models(start)
    frozen = frozen_tower(folder, seeing)
    train_captioner(folder, frozen, minutes=minutes, seed=seed, start=published)


def facts(folder: Path, minutes: float, seed: int, start: Path | None = None) -> None:
    """Trains the captioner further on what is right in its own captions."""
    if start is None:
        frozen = frozen_tower(folder)
        trained = trained_captioner(folder, frozen)
    else:
        seeing, trained = published_models(start)
        frozen = frozen_tower(folder, seeing)
        keep_tokenizer(folder, start)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    train_on_facts(folder / "facts.pt", frozen, trained, tokenizer, minutes=minutes, seed=seed)


def evaluators(folder: Path, minutes: float, seed: int, start: Path | None = None) -> None:
    """Trains CLIP, then PAC's projections on top of it."""
    frozen = frozen_tower(folder, start and published_models(start)[0])
    published = start and load_evaluators(start / EVALUATORS)[0]
    clip = train_clip(folder, frozen, minutes=minutes, seed=seed, start=published)
    pac = train_pac(folder, frozen, clip, steps=300, seed=seed)
    save_evaluators(folder / "evaluators.safetensors", clip, pac)
    figures: dict[str, Any] = {}
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    for style in (*TRAINING_STYLES, HELD_OUT_STYLE):
        figures[style] = measure_evaluator(pac, frozen, tokenizer, style)
    _write_figures(folder, "evaluators", figures)


def trained_captioner(folder: Path, frozen: Tower, name: str = "captioner.pt") -> Captioner:
    """The captioner of a checkpoint, rounded to fp16."""
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    config = CaptionerConfig(
        feature_width=frozen.config.feature_width,
        feature_tokens=frozen.config.cells**2,
        vocab_size=tokenizer.vocab_size,
    )
    trained = Captioner(config)
    trained.load_state_dict(torch.load(folder / name, weights_only=True)["state"]["captioner"])
    trained.eval().requires_grad_(False)
    round_to_fp16(trained)
    return trained


def figures_by_style(
    seeing: Tower, captions: Captioner, tokenizer: Tokenizer, count: int, first: int = 0
) -> dict[str, Any]:
    """What is right and what is missing on held-out scenes, in each art style.

    Args:
        seeing: The captioner's tower.
        captions: The captioner.
        tokenizer: Its own.
        count: Scenes in the seen styles together, and as many in the held-out one.
        first: The number of the first scene.
    """
    each = count // len(TRAINING_STYLES)
    seen = {
        style: check_captions(seeing, captions, tokenizer, style, range(start, start + each))
        for style, start in zip(TRAINING_STYLES, range(first, first + count, each), strict=False)
    }
    unseen = check_captions(
        seeing, captions, tokenizer, HELD_OUT_STYLE, range(first, first + count)
    )
    every = {"seen styles": [pair for own in seen.values() for pair in own], **seen}
    return {
        style: captioner_figures(own) for style, own in (every | {HELD_OUT_STYLE: unseen}).items()
    }


def measure(version: Path, count: int, first: int) -> None:
    """Prints a published version's figures on other scenes than those of its release."""
    torch.set_num_threads(1)
    seeing, captions = published_models(version)
    tokenizer = Tokenizer.load(version / "tokenizer.json")
    print(json.dumps(figures_by_style(seeing, captions, tokenizer, count, first), indent=2))


def release(folder: Path, out: Path, signing_seed: str | None, start: Path | None = None) -> None:
    """Measures the model on every art style and writes the base version, signed.

    Of a version that was trained further, what the folder has not stays.

    Without a signing seed one is made and thrown away: the public key, printed, is what the edge
    has to trust, and nobody can sign another base in its name.
    """
    torch.set_num_threads(1)
    seed = signing_seed or base64.b64encode(os.urandom(32)).decode()
    frozen = frozen_tower(folder, start and published_models(start)[0])
    trained = trained_captioner(folder, frozen, "facts.pt")
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    _write_figures(folder, "captioner", figures_by_style(frozen, trained, tokenizer, MEASURED))
    (out / "training").mkdir(parents=True, exist_ok=True)
    evaluator_file = out / EVALUATORS
    trained_here = folder / evaluator_file.name
    kept = trained_here if start is None or trained_here.exists() else start / EVALUATORS
    evaluator_file.write_bytes(kept.read_bytes())
    metrics = {} if start is None else json.loads((start / "manifest.json").read_text())["metrics"]
    for name in ("tower", "captioner", "evaluators"):
        if (folder / f"{name}.json").exists():
            metrics[name] = json.loads((folder / f"{name}.json").read_text())
    probes = [_png(PROBE_SEED + number) for number in range(20)]
    pixels = [
        normalise(to_pixels(draw_scene(sample_scene(HELD_OUT_SEED + 800_000 + n)))[None]).numpy()
        for n in range(64)
    ]
    version = write_version(
        out,
        frozen,
        trained,
        folder / "tokenizer.json",
        model="scenes",
        probe_images=probes,
        parity_pixels=np.concatenate(pixels),
        signing_seed=seed,
        evaluators={"clip+pac": file_digest(evaluator_file)},
        metrics=metrics,
        training={"data": "illustrated scenes", "objective": "cross-entropy, then facts"},
        with_training_state=True,
    )
    print(f"version {version.version_id}\npublic key {public_key(seed)}")


def _png(seed: int) -> bytes:
    stored = io.BytesIO()
    draw_scene(sample_scene(seed), size=TowerConfig().image_size, augment=False).save(stored, "PNG")
    return stored.getvalue()


def _write_figures(folder: Path, name: str, figures: dict[str, Any]) -> None:
    print(json.dumps(figures, indent=2))
    (folder / f"{name}.json").write_text(json.dumps(figures, indent=2) + "\n")
