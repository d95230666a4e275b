"""One fine-tune job, start to end, in its own folder: what `python -m dico update` runs.

The folder holds job.json, dataset.json and images/; the job adds progress.jsonl, checkpoint/,
version/, report.json and at last result.json. Started again, it goes on where it stopped.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker
from dico.captioner import Captioner
from dico.data_set import read_data_set
from dico.lists import objective_of, source_of
from dico.material import Material, features_of, gather, read_features
from dico.preferences import PreferenceModel, fit_preferences
from dico.quality import Quality, caption_both_ways, held_out_quality
from dico.report import LearningReport
from dico.screening import (
    EndUser,
    Rejection,
    require_consistency,
    require_enough,
    weigh_end_users,
)
from dico.settings import Settings, settle
from dico.update import StepReport, dico_update, report_figures

WEAK_PREFERENCE_AUC = 0.65
# An evaluator that ranks fewer pairs right is said to be blind to that kind of error.
BLIND_BELOW = 0.9


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
class Learnt:
    """What the thumbs say: a preference model, and how far each viewer was believed."""

    preferences: PreferenceModel
    end_users: list[EndUser]


@dataclass(frozen=True)
class Trained:
    """A finished job: the policy with weights as they will be published, and its figures."""

    policy: Captioner
    evaluation: dict[str, Any]
    settings: Settings


def train(folder: Path, base: BaseVersion, progress: Progress, report: LearningReport) -> Trained:
    """Candidates -> preferences -> DiCO steps -> held-out figures.

    Raises:
        Rejection: The feedback is too little or contradicts itself.
    """
    job = json.loads((folder / "job.json").read_text())
    images = read_data_set(folder / "dataset.json")
    thumbs = sum(len(image.ratings) for image in images)
    maker = candidate_maker(base, settle(job["method"], len(images), thumbs))
    progress.write("state", state="training")
    with report.phase("image features"):
        features = read_features(folder, images, base)
    with report.phase("candidates"):
        material = gather(
            images, features, base, maker, job["seed"],
            lambda done, total: progress.step("candidates", done, total),
        )  # fmt: skip
    report.describe_data(material)
    for reason, count in material.dropped.items():
        progress.write("log", level="warning", message=f"left out: {count} x {reason}")
    if not material.side("held_out"):
        raise Rejection(
            "TOO_FEW_THUMBS",
            "No image that was kept back to check the result could be read.",
            ["Rate more images: a fifth of them is kept back."],
        )
    with report.phase("preferences"):
        learnt = learn_preferences(material, base)
    settings = settle(job["method"], len(material.side("train")), thumbs)
    report.settings = settings.flat()

    def on_step(step: StepReport) -> None:
        report.steps.append(step)
        if (step.step + 1) % 5 == 0 or step.step == 0:
            figures = report_figures(step)
            progress.step(
                "dico", step.step + 1, settings.update.steps, loss=figures["loss"], metrics=figures
            )

    checkpoint = folder / "checkpoint" / "policy.pt"
    with report.phase("update"):
        policy = update(material, learnt, base, maker, settings, job["seed"], checkpoint, on_step)
    progress.write("state", state="evaluating")
    with report.phase("held-out checks"):
        held_out = material.side("held_out")
        shown = caption_both_ways(
            base, policy, maker, learnt.preferences, [each.features for each in held_out]
        )
        quality = held_out_quality(base, policy, shown, held_out, job["seed"])
        evaluation = evaluate(material, quality, learnt, base)
        report.show(folder / "images", held_out, shown)
    report.evaluation = evaluation
    return Trained(policy, evaluation, settings)


def candidate_maker(base: BaseVersion, settings: Settings) -> CandidateMaker:
    """Splits the number of candidates into beams, samples, openings and early ends."""
    count = settings.candidates
    beams = max(2, count // 3)
    openings = count // 6
    return CandidateMaker(
        base.captioner,
        base.pac,
        beams=beams,
        openings=openings,
        samples=max(count - beams - openings, 0),
        endings=count // 6,
    )


def learn_preferences(material: Material, base: BaseVersion) -> Learnt:
    """Fits the preference model on the training side's thumbs, viewers weighted by agreement.

    Raises:
        Rejection: Too few, all alike, or contradictory.
    """
    train_side = material.side("train")
    thumbs = [thumb for picture in train_side for thumb in picture.thumbs]
    require_enough(thumbs)
    require_consistency(thumbs)
    rows = [
        features_of(base, picture.candidates)[picture.rows_of_thumbs()]
        for picture in train_side
        if picture.thumbs
    ]
    rated = torch.cat(rows)
    unlabelled = torch.cat([features_of(base, picture.candidates) for picture in material.pictures])
    weight, end_users = weigh_end_users(thumbs, rated, unlabelled)
    preferences = fit_preferences(
        rated,
        torch.tensor([thumb.is_up for thumb in thumbs]),
        torch.tensor([thumb.image for thumb in thumbs]),
        unlabelled,
        weight,
    )
    return Learnt(preferences, end_users)


def update(
    material: Material,
    learnt: Learnt,
    base: BaseVersion,
    maker: CandidateMaker,
    settings: Settings,
    seed: int,
    checkpoint: Path | None,
    on_step: Callable[[StepReport], None],
) -> Captioner:
    """Ranks the candidates and trains; the policy comes back as it will be published.

    Raises:
        Rejection: NOTHING_TO_LEARN, when no image has two candidates to compare.
    """
    policy = dico_update(
        base.captioner,
        source_of(material, learnt.preferences, base, maker, settings, seed),
        settings.update,
        seed=seed,
        objective=objective_of(settings),
        checkpoint=checkpoint,
        on_step=on_step,
    )
    with torch.no_grad():  # measure what will be published
        for parameter in policy.parameters():
            parameter.copy_(parameter.half().float())
    return policy


def evaluate(
    material: Material, quality: Quality, learnt: Learnt, base: BaseVersion
) -> dict[str, Any]:
    """The contract's `Evaluation`."""
    warnings: list[str] = []
    if learnt.preferences.auc < WEAK_PREFERENCE_AUC:
        warnings.append(
            f"The thumbs hardly predict each other (AUC {learnt.preferences.auc:.2f}, .5 is "
            "chance); more of them, or corrections, would help."
        )
    for viewer in learnt.end_users:
        if viewer.weight < 1:
            warnings.append(
                f"The {viewer.thumbs} thumbs of “{viewer.end_user}” go against everybody else's "
                f"(agreement {viewer.agreement:.2f}); they counted {viewer.weight:.0%}."
            )
    sides = {name: material.side(name) for name in ("train", "held_out")}
    liked = [thumb.tokens for p in material.pictures for thumb in p.thumbs if thumb.is_up]
    return {
        "examples": {
            **{name: sum(len(p.thumbs) for p in side) for name, side in sides.items()},
            "images": len(material.pictures),
            "held_out_images": len(sides["held_out"]),
        },
        **dataclasses.asdict(quality),
        "liked_length": sum(len(base.tokenizer.decode(ids).split()) for ids in liked)
        / max(len(liked), 1),
        "preference_auc": learnt.preferences.auc,
        "end_users": [dataclasses.asdict(viewer) for viewer in learnt.end_users[:50]],
        "blind_spots": blind_spots(base),
        "warnings": [warning[:500] for warning in warnings[:50]],
    }


def blind_spots(base: BaseVersion) -> list[dict[str, Any]]:
    """Kinds of error that the base's evaluator often ranks above the truth, as its card says."""
    manifest = json.loads((base.folder / "manifest.json").read_text())
    styles = manifest.get("metrics", {}).get("evaluators", {})
    by_error: dict[str, list[float]] = {}
    for style in styles.values():
        for error, right in style.get("by_error", {}).items():
            by_error.setdefault(error, []).append(right)
    means = {error: sum(right) / len(right) for error, right in by_error.items()}
    return [
        {"error": error, "right": round(right, 4)}
        for error, right in sorted(means.items(), key=lambda each: each[1])
        if right < BLIND_BELOW
    ][:20]
