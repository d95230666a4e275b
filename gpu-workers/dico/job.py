"""One fine-tune job, start to end, in its own folder: what `python -m dico update` runs.

The folder holds job.json, dataset.json and images/; the job adds progress.jsonl, checkpoint/,
version/ and at last result.json. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker, Candidates
from dico.data_set import RatedImage, read_data_set
from dico.pixels import ImageError, load_pixels
from dico.preferences import PreferenceModel, caption_features, fit_preferences, rewards
from dico.quality import Quality, held_out_quality
from dico.update import (
    Example,
    ExampleSource,
    Hyperparameters,
    StepReport,
    dico_update,
    fixed_lists,
    report_figures,
)

# Below this many thumbs the held-out figures say nothing.
FEWEST_THUMBS = 10
WEAK_PREFERENCE_AUC = 0.65


class JobError(Exception):
    """A job that cannot end well, with a code for the caller."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Progress:
    """Appends to progress.jsonl; the job runner turns each line into a callback."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, kind: str, **data: object) -> None:
        """Adds one line; kind is state, progress or log."""
        with self._path.open("a") as file:
            file.write(json.dumps({"type": kind, **data}) + "\n")

    def step(self, phase: str, step: int, total: int, **data: object) -> None:
        """Reports that `step` of `total` in a phase is done."""
        self.write("progress", phase=phase, step=step, total_steps=total, **data)


@dataclass(frozen=True)
class RatedCaption:
    """A thumb as the preference model sees it."""

    image: int
    tokens: tuple[int, ...]
    is_up: bool


@dataclass(frozen=True)
class Material:
    """All that training needs, in the order of the data set's images.

    Attributes:
        images: The rated images that could be read.
        features: Tower features, [1, S, F] each.
        candidates: Of each image.
        ratings: Every usable thumb; a correction counts as a thumbs-up on itself.
        corrections: Of each image, the captions people wrote.
    """

    images: list[RatedImage]
    features: list[Tensor]
    candidates: list[Candidates]
    ratings: list[RatedCaption]
    corrections: list[set[tuple[int, ...]]]


@dataclass(frozen=True)
class Trained:
    """A finished job: the policy with weights as they will be published, and its figures."""

    policy: Any
    evaluation: dict[str, Any]
    settings: Hyperparameters


def read_features(folder: Path, images: list[RatedImage], base: BaseVersion) -> dict[str, Tensor]:
    """Tower features by image digest, cached in the folder by tower and image digest."""
    cache = folder / "checkpoint" / "features" / base.tower_sha256[:16]
    cache.mkdir(parents=True, exist_ok=True)
    features: dict[str, Tensor] = {}
    for image in images:
        path = cache / f"{image.sha256}.pt"
        if path.exists():
            features[image.sha256] = torch.load(path, weights_only=True)
            continue
        try:
            pixels = load_pixels((folder / "images" / image.sha256).read_bytes(), base.image_size)
        except ImageError:
            continue
        with torch.no_grad():
            found = base.tower(torch.from_numpy(pixels)[None].to(base.device)).cpu()
        partial = path.with_suffix(".partial")
        torch.save(found, partial)
        os.replace(partial, path)
        features[image.sha256] = found
    return features


def gather(
    folder: Path, base: BaseVersion, maker: CandidateMaker, seed: int, progress: Progress
) -> Material:
    """Reads images and thumbs, and draws the candidates of each image."""
    images = read_data_set(folder / "dataset.json")
    features = read_features(folder, images, base)
    readable = [image for image in images if image.sha256 in features]
    if len(readable) < len(images):
        missing = len(images) - len(readable)
        progress.write("log", level="warning", message=f"{missing} images could not be read")
    longest = base.captioner.config.max_tokens - 2
    ratings: list[RatedCaption] = []
    candidates: list[Candidates] = []
    corrections: list[set[tuple[int, ...]]] = []
    for index, image in enumerate(readable):
        own: set[tuple[int, ...]] = set()
        rated: list[RatedCaption] = []
        for rating in image.ratings:
            rated.append(RatedCaption(index, _ids(base, rating.caption), rating.is_up))
            if rating.correction:
                own.add(_ids(base, rating.correction))
                rated.append(RatedCaption(index, _ids(base, rating.correction), is_up=True))
        usable = [r for r in rated if 0 < len(r.tokens) <= longest]
        own = {tokens for tokens in own if 0 < len(tokens) <= longest}
        digest = hashlib.sha256(f"{seed}/{image.sha256}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))
        drawn = maker.draw(
            features[image.sha256].to(base.device), [r.tokens for r in usable], generator
        )
        ratings += usable
        candidates.append(drawn)
        corrections.append(own)
        if (index + 1) % 10 == 0 or index + 1 == len(readable):
            progress.step("candidates", index + 1, len(readable))
    return Material(
        readable, [features[image.sha256] for image in readable], candidates, ratings, corrections
    )


def _ids(base: BaseVersion, caption: str) -> tuple[int, ...]:
    return tuple(base.tokenizer.encode(" ".join(caption.split())))


def _features_of(base: BaseVersion, candidates: Candidates) -> Tensor:
    texts = [base.tokenizer.decode(tokens) for tokens in candidates.tokens]
    return caption_features(texts, candidates.states, candidates.scores)


def learn_preferences(material: Material, base: BaseVersion) -> PreferenceModel:
    """Fits the preference model on the training side's thumbs.

    Raises:
        JobError: TOO_FEW_THUMBS, or THUMBS_ALL_ALIKE.
    """
    seen = [_features_of(base, candidates) for candidates in material.candidates]
    used = [r for r in material.ratings if material.images[r.image].split == "train"]
    if len(used) < FEWEST_THUMBS:
        raise JobError("TOO_FEW_THUMBS", f"{len(used)} usable thumbs on the training side")
    rows = [seen[r.image][material.candidates[r.image].tokens.index(r.tokens)] for r in used]
    try:
        return fit_preferences(
            torch.stack(rows),
            torch.tensor([rating.is_up for rating in used]),
            torch.tensor([rating.image for rating in used]),
            torch.cat(seen),
        )
    except ValueError as error:
        raise JobError("THUMBS_ALL_ALIKE", str(error)) from error


def settings_of(job: dict[str, Any], images: int) -> Hyperparameters:
    """The job's hyperparameters over the defaults; without `n_epochs` at least sixty steps."""
    given = job["method"]["dico"]["hyperparameters"]
    settings = Hyperparameters()
    epochs = given.get("n_epochs")
    steps = math.ceil((epochs or 3) * images / settings.batch)
    return dataclasses.replace(
        settings,
        beta=given.get("beta", settings.beta),
        tau=given.get("tau", settings.tau),
        learning_rate=given.get("learning_rate", settings.learning_rate),
        steps=steps if epochs else max(settings.steps, steps),
    )


def on_policy_lists(
    material: Material,
    base: BaseVersion,
    maker: CandidateMaker,
    preferences: PreferenceModel,
    settings: Hyperparameters,
    seed: int,
) -> ExampleSource:
    """The paper's form: each step's candidates are the beams of the policy being trained."""
    train = [i for i, image in enumerate(material.images) if image.split == "train"]

    def draw(policy: Any, step: int) -> list[Example]:
        generator = torch.Generator().manual_seed(seed * 1_000_033 + step)
        chosen = torch.randperm(len(train), generator=generator)[: settings.batch].tolist()
        examples: list[Example] = []
        for index in (train[position] for position in chosen):
            features = material.features[index].to(base.device)
            own = CandidateMaker(policy, base.pac, beams=settings.losers + 1, samples=0)
            drawn = own.draw(features, [], generator)
            if len(drawn.tokens) < 2:
                continue
            scored = maker.score(features, drawn.tokens, material.candidates[index].top_logp)
            reward = rewards(scored, preferences.logits(_features_of(base, scored)), set())
            examples.append(Example(base.captioner.encode(features)[0].detach(), scored, reward))
        return examples

    return draw


def train(folder: Path, base: BaseVersion, progress: Progress) -> Trained:
    """Candidates -> rewards -> DiCO steps -> held-out figures."""
    job = json.loads((folder / "job.json").read_text())
    seed, given = job["seed"], job["method"]["dico"]["hyperparameters"]
    count = given.get("candidates", 24)
    beams = max(2, count // 3)
    maker = CandidateMaker(base.captioner, base.pac, beams=beams, samples=count - beams)
    progress.write("state", state="training")
    material = gather(folder, base, maker, seed, progress)
    preferences = learn_preferences(material, base)

    examples: list[Example] = []
    for index, image in enumerate(material.images):
        candidates = material.candidates[index]
        if image.split != "train" or len(candidates.tokens) < 2:
            continue
        reward = rewards(
            candidates,
            preferences.logits(_features_of(base, candidates)),
            material.corrections[index],
        )
        with torch.no_grad():
            hidden = base.captioner.encode(material.features[index].to(base.device))[0]
        examples.append(Example(hidden, candidates, reward))
    if not examples:
        raise JobError("TOO_FEW_THUMBS", "no training image has two candidate captions")
    settings = settings_of(job, len(examples))
    source = (
        on_policy_lists(material, base, maker, preferences, settings, seed)
        if given.get("on_policy")
        else fixed_lists(examples, settings, seed)
    )

    def on_step(report: StepReport) -> None:
        if (report.step + 1) % 5 == 0 or report.step == 0:
            figures = report_figures(report)
            progress.step(
                "dico", report.step + 1, settings.steps, loss=figures["loss"], metrics=figures
            )

    policy = dico_update(
        base.captioner,
        source,
        settings,
        seed=seed,
        checkpoint=folder / "checkpoint" / "policy.pt",
        on_step=on_step,
    )
    with torch.no_grad():  # measure what will be published
        for parameter in policy.parameters():
            parameter.copy_(parameter.half().float())
    progress.write("state", state="evaluating")
    held_out = [i for i, image in enumerate(material.images) if image.split == "held_out"]
    if not held_out:
        raise JobError("NOTHING_HELD_OUT", "no held-out image could be read")
    quality = held_out_quality(
        base.captioner, policy, maker, preferences, base.tokenizer,
        [material.features[index].to(base.device) for index in held_out],
    )  # fmt: skip
    return Trained(policy, _evaluation(material, quality, preferences), settings)


def _evaluation(
    material: Material, quality: Quality, preferences: PreferenceModel
) -> dict[str, Any]:
    """The contract's `Evaluation`."""
    warnings: list[str] = []
    if preferences.auc < WEAK_PREFERENCE_AUC:
        warnings.append(
            f"The thumbs hardly predict each other (AUC {preferences.auc:.2f}); "
            "more of them, or corrections, would help."
        )
    sides = [material.images[rating.image].split for rating in material.ratings]
    return {
        "examples": {
            "train": sides.count("train"),
            "held_out": sides.count("held_out"),
            "images": len(material.images),
        },
        **dataclasses.asdict(quality),
        "preference_auc": preferences.auc,
        "warnings": warnings,
    }
