"""The training loop: any stage, any number of devices, any cut of the batch, any interruption.

One configuration gives one series of losses, whether a batch is one forward pass or many, on one
device or several, and whether or not the training was stopped in between.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dico.captioner import Captioner
from dico.scale.config import Adam, Recipe
from dico.scale.devices import Devices
from dico.scale.features import Features, weights_digest
from dico.scale.lanes import Item, Position, Reading, read_items
from dico.scale.stages import Stage
from dico.scale.validation import Validation

CHECKPOINT, BEST, LOG = "checkpoint.pt", "best.safetensors", "log.jsonl"


class TrainingError(ValueError):
    """A training cannot begin or go on; the message is one sentence."""


@dataclass(frozen=True)
class Trained:
    """How a training ended.

    Attributes:
        best: The best validation score; -inf without validation.
        skipped: Samples and members left out on all devices, counts by reason.
    """

    best: float
    skipped: dict[str, int]


@dataclass(frozen=True)
class Run:
    """Everything around a stage that does not decide what it learns.

    Attributes:
        folder: Of this stage's checkpoint, best captioner and log.
        reading: The training data.
        features: The tower's.
        devices: This process among all.
        adam: The optimiser's constants.
        digests: Of everything frozen that the results depend on, by name.
        bf16: Whether forward passes compute in bf16.
        validation: None: the last captioner is the best.
        workers: Reading processes of each device.
        save_every: Steps from one checkpoint to the next.
        on_step: Told about each step, on the leading device.
    """

    folder: Path
    reading: Reading
    features: Features
    devices: Devices
    adam: Adam
    digests: dict[str, str]
    bf16: bool = False
    validation: Validation | None = None
    workers: int = 0
    save_every: int = 500
    on_step: Callable[[dict[str, Any]], None] = lambda report: None


@dataclass
class _Progress:
    """What a checkpoint holds beside weights: finished steps, data positions, best score."""

    positions: list[Position]
    step: int = 0
    best: float = -math.inf
    skipped: Counter[str] = field(default_factory=Counter)


def learning_rate(recipe: Recipe, step: int) -> float:
    """The rate of a step counted from 0: linear up to the recipe's, which then stays."""
    warm_up = math.ceil(recipe.warm_up_share * recipe.max_steps)
    return recipe.learning_rate * min((step + 1) / max(warm_up, 1), 1.0)


def train(stage: Stage, start: Captioner, run: Run, *, steps: int, resume: bool) -> Trained:
    """Trains `start` in place up to a number of steps and leaves the best one in the folder.

    Args:
        stage: What is optimised.
        start: Weights to begin with, equal on each device; in eval mode, as nothing drops out.
        run: See there.
        steps: Steps at the end, those before an interruption included; it validates there, too.
        resume: Go on from the folder's checkpoint if there is one.

    Raises:
        TrainingError: The checkpoint belongs to other data, weights or settings, or there are more
            devices than images in a batch.
        ShardError: The data cannot be divided among the devices, or is empty.
    """
    if stage.recipe.batch < run.devices.world:
        raise TrainingError(f"a batch of {stage.recipe.batch} has no part for every device")
    identity = _identity(stage, start, run)
    policy = start.requires_grad_(True)
    trained = list(policy.parameters())
    optimiser = torch.optim.Adam(
        trained,
        betas=(run.adam.beta1, run.adam.beta2),
        eps=run.adam.eps,
        weight_decay=run.adam.weight_decay,
        fused=True,
    )
    progress = _Progress([Position()] * run.reading.lanes)
    if resume and (run.folder / CHECKPOINT).exists():
        _restore(run, identity, policy, optimiser, progress)
    _begin_log(run, progress.step)
    items = read_items(
        run.reading,
        progress.positions,
        first=progress.step * stage.recipe.batch,
        rank=run.devices.rank,
        world=run.devices.world,
        workers=run.workers,
    )
    for step in range(progress.step, steps):
        started = time.monotonic()
        rate = learning_rate(stage.recipe, step)
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = _own_part(items, stage.recipe, step, run.devices)
        optimiser.zero_grad()
        figures = _backward(stage, policy, batch, run)
        run.devices.sum_gradients(trained)
        optimiser.step()
        for item in batch:
            progress.positions[item.lane] = item.after
            progress.skipped.update(item.skipped)
        progress.step = step + 1
        last = progress.step == steps
        if run.validation and (last or progress.step % stage.recipe.validate_every == 0):
            scores = run.validation.scores(policy, run.devices, stage.recipe.micro_batch)
            figures |= {f"validation_{name}": score for name, score in scores.items()}
            if scores[stage.selected_by] > progress.best:
                progress.best = scores[stage.selected_by]
                _save_best(policy, run)
        if last or progress.step % run.save_every == 0:
            _save(run, identity, policy, optimiser, progress)
        seconds = round(time.monotonic() - started, 3)
        _report(run, stage, step, figures | {"learning_rate": rate, "seconds": seconds}, progress)
    if run.validation is None:
        _save_best(policy, run)
    return Trained(progress.best, dict(_total(run, progress)))


def _own_part(items: Iterator[Item], recipe: Recipe, step: int, devices: Devices) -> list[Item]:
    """This device's samples of one batch: those whose lane it reads."""
    rank, world = devices.rank, devices.world
    before, after = (-(-(n * recipe.batch - rank) // world) for n in (step, step + 1))
    return list(islice(items, after - before))


def _backward(stage: Stage, policy: Captioner, batch: Sequence[Item], run: Run) -> dict[str, float]:
    """Gradients of the batch's mean loss, and its figures over all devices."""
    size = stage.recipe.micro_batch
    targets = run.devices.sum_numbers({"targets": float(stage.targets(batch))})["targets"]
    sums: dict[str, float] = {"loss": 0.0}
    for start in range(0, len(batch), size):
        items = batch[start : start + size]
        features = run.features.of(items, bf16=run.bf16)
        with torch.autocast(features.device.type, torch.bfloat16, enabled=run.bf16):
            loss, figures = stage.part(policy, items, features)
        (loss / targets).backward()
        sums["loss"] += float(loss.detach())
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value
    total = run.devices.sum_numbers(sums)
    return {
        name: value / (targets if name == "loss" else stage.recipe.batch)
        for name, value in total.items()
    }


def _identity(stage: Stage, start: Captioner, run: Run) -> dict[str, Any]:
    """What has to be equal for an interrupted training to go on as if it had not been."""
    return {
        "stage": stage.name,
        "start": weights_digest(start),
        "batch": stage.recipe.batch,
        "shards": [path.name for path in run.reading.shards],
        "lanes": run.reading.lanes,
        "seed": run.reading.seed,
        "bf16": run.bf16,
        **run.digests,
    }


def _save(
    run: Run,
    identity: dict[str, Any],
    policy: Captioner,
    optimiser: torch.optim.Optimizer,
    progress: _Progress,
) -> None:
    """Writes the checkpoint; a crash in between leaves the previous one whole."""
    lanes = run.reading.lanes
    gathered = run.devices.gather(progress.positions)
    positions = [gathered[lane % run.devices.world][lane] for lane in range(lanes)]
    skipped = _total(run, progress)
    if not run.devices.leads:
        return
    partial = run.folder / f"{CHECKPOINT}.partial"
    torch.save(
        {
            "identity": identity,
            "policy": policy.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": progress.step,
            "best": progress.best,
            "skipped": dict(skipped),
            "positions": [(position.epoch, position.read) for position in positions],
        },
        partial,
    )
    os.replace(partial, run.folder / CHECKPOINT)


def _total(run: Run, progress: _Progress) -> Counter[str]:
    """What was left out on all devices."""
    return sum(run.devices.gather(progress.skipped), Counter[str]())


def _restore(
    run: Run,
    identity: dict[str, Any],
    policy: Captioner,
    optimiser: torch.optim.Optimizer,
    progress: _Progress,
) -> None:
    saved = torch.load(run.folder / CHECKPOINT, weights_only=True, map_location=run.devices.device)
    different = sorted(name for name in identity if saved["identity"].get(name) != identity[name])
    if different:
        raise TrainingError(f"the checkpoint in {run.folder} has another {', '.join(different)}")
    policy.load_state_dict(saved["policy"])
    optimiser.load_state_dict(saved["optimiser"])
    progress.step, progress.best = saved["step"], saved["best"]
    progress.positions = [Position(*position) for position in saved["positions"]]
    if run.devices.leads:  # else every device would count them
        progress.skipped.update(saved["skipped"])


def _save_best(policy: Captioner, run: Run) -> None:
    """Keeps the captioner alone, fp32, under the keys that `captioner.` weights have elsewhere."""
    if not run.devices.leads:
        return
    partial = run.folder / f"{BEST}.partial"
    weights = {f"captioner.{k}": v.detach().cpu() for k, v in policy.state_dict().items()}
    save_file({name: value.contiguous() for name, value in weights.items()}, partial)
    os.replace(partial, run.folder / BEST)


def _begin_log(run: Run, step: int) -> None:
    """Leaves in the log what the checkpoint knows; later lines are made again."""
    if not run.devices.leads:
        return
    run.folder.mkdir(parents=True, exist_ok=True)
    log = run.folder / LOG
    lines = log.read_text().splitlines() if step and log.exists() else []
    log.write_text("".join(f"{line}\n" for line in lines if json.loads(line)["step"] < step))


def _report(
    run: Run, stage: Stage, step: int, figures: dict[str, float], progress: _Progress
) -> None:
    """One line of the log, and the progress line."""
    if not run.devices.leads:
        return
    report: dict[str, Any] = {"stage": stage.name, "step": step, **figures}
    if progress.skipped:
        report["skipped"] = dict(progress.skipped)
    with (run.folder / LOG).open("a") as file:
        file.write(json.dumps(report) + "\n")
    run.on_step(report)
