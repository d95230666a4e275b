"""`python -m dico shards` and `python -m dico train`: training from scratch at any size."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def add_training_commands(commands: Any) -> None:
    """Registers both commands; PyTorch is loaded only when they run."""
    shards = commands.add_parser("shards", help="write captioned pictures to WebDataset shards")
    shards.add_argument(
        "--from",
        dest="source",
        type=Path,
        required=True,
        help="folder with pictures and captions.json: {file: [captions]}, that of `scenes`, "
        "or COCO's annotations (also as annotations.json)",
    )
    shards.add_argument("--out", type=Path, required=True, help="folder for 000000.tar and so on")
    shards.add_argument("--shards", type=_positive, default=16, help="how many files (16)")
    shards.set_defaults(run=_shards)

    train = commands.add_parser(
        "train", help="train a captioner from shards: cross-entropy, then DiCO; under torchrun too"
    )
    train.add_argument("--config", type=Path, required=True, help="sizes and recipe, JSON")
    train.add_argument("--data", type=Path, required=True, help="folder of training shards")
    train.add_argument("--out", type=Path, required=True, help="folder for captioners and logs")
    train.add_argument("--tokenizer", type=Path, required=True, help="a tokenizer.json")
    train.add_argument("--validation", type=Path, help="folder of shards that choose the best")
    train.add_argument(
        "--weights", type=Path, help="safetensors with tower.* and captioner.*; else random"
    )
    train.add_argument("--evaluators", type=Path, help="an evaluators.safetensors; else random")
    train.add_argument(
        "--stage", choices=["xe", "dico"], help="one only; both, one after the other"
    )
    train.add_argument("--steps", type=_positive, help="of each stage; else the recipe's max_steps")
    train.add_argument("--resume", action="store_true", help="go on where --out stopped")
    train.add_argument("--workers", type=int, default=0, help="reading processes of a device (0)")
    train.add_argument("--save-every", type=_positive, default=500, help="steps (500)")
    train.add_argument("--features", type=Path, help="the tower's feature cache (OUT/features)")
    train.set_defaults(run=_train)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {number}")
    return number


def _shards(arguments: argparse.Namespace) -> int:
    from dico.metrics.captioned_images import DataError, read_captioned_images
    from dico.scale.shards import ShardError, write_shards

    skipped: Counter[str] = Counter()
    try:
        images = read_captioned_images(arguments.source).images
        written = write_shards(images, arguments.out, shards=arguments.shards, skipped=skipped)
    except (DataError, ShardError) as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{written} samples in {arguments.shards} shards{_told(skipped)}")
    return 0


def _told(skipped: Mapping[str, int]) -> str:
    """What was left out, as the end of a line."""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(skipped.items()))
    return f"; left out {reasons}" if reasons else ""


def _train(arguments: argparse.Namespace) -> int:
    from dico.scale.config import ConfigError
    from dico.scale.devices import Devices
    from dico.scale.models import WeightsError
    from dico.scale.shards import ShardError
    from dico.scale.training import TrainingError

    devices = Devices()
    try:
        _run_stages(arguments, devices)
    except (ConfigError, ShardError, WeightsError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 2
    finally:
        devices.close()
    return 0


def _run_stages(arguments: argparse.Namespace, devices: Any) -> None:
    """Cross-entropy, then DiCO from the captioner that validated best; or one of the two."""
    from dico.scale.config import load_config
    from dico.scale.models import load_weights, make_models
    from dico.scale.stages import CrossEntropyStage, DicoStage
    from dico.scale.training import BEST, TrainingError, train

    config = load_config(arguments.config)
    models = make_models(
        config,
        arguments.tokenizer,
        weights=arguments.weights,
        evaluators=arguments.evaluators,
        device=devices.device,
    )
    if models.random and devices.leads:
        print(f"random weights: {', '.join(models.random)}", file=sys.stderr)
    for name in [arguments.stage] if arguments.stage else ["xe", "dico"]:
        run = _run_of(arguments, config, models, devices, arguments.out / name)
        best_xe = arguments.out / "xe" / BEST
        if name == "xe":
            stage = CrossEntropyStage(
                config.xe, models.tokenizer, models.captioner.config.max_tokens
            )
        else:
            if best_xe.exists():
                load_weights(best_xe, {"captioner": models.captioner})
            elif "captioner" in models.random:
                raise TrainingError(f"DiCO starts from a captioner: {best_xe} or --weights")
            stage = DicoStage(
                config.dico, _frozen_copy(models.captioner), models.evaluator, config.objective
            )
        steps = min(arguments.steps or stage.recipe.max_steps, stage.recipe.max_steps)
        trained = train(stage, models.captioner, run, steps=steps, resume=arguments.resume)
        devices.gather(None)  # the next stage reads what the leading device has written
        if devices.leads:
            score = f", {stage.selected_by} {trained.best:.4f}" if run.validation else ""
            print(f"{name}: {run.folder / BEST}{score}{_told(trained.skipped)}")


def _frozen_copy(captioner: Any) -> Any:
    import copy

    return copy.deepcopy(captioner).eval().requires_grad_(False)


def _run_of(
    arguments: argparse.Namespace, config: Any, models: Any, devices: Any, folder: Path
) -> Any:
    """The run of one stage: data, features and validation, all on this device."""
    from dico.scale.features import FeatureCache, Features
    from dico.scale.lanes import Reading, read_once
    from dico.scale.shards import find_shards
    from dico.scale.training import Run
    from dico.scale.validation import Validation

    bf16 = config.precision == "bf16"
    tower = f"{models.digests['tower'][:24]}-{config.precision}"
    cache = FeatureCache((arguments.features or arguments.out / "features") / tower)
    features = Features(models.tower, cache, devices.device)
    side, seed = config.tower.image_size, config.seed
    reading = Reading(find_shards(arguments.data), config.lanes, seed, side, cache.has)
    validation = None
    if arguments.validation is not None:
        shards = find_shards(arguments.validation)
        held_out = Reading(shards, len(shards), seed, side, cache.has)
        items = list(read_once(held_out, rank=devices.rank, world=devices.world))
        validation = Validation(
            items, features, models.evaluator, models.tokenizer, config.objective, bf16
        )
    return Run(
        folder=folder,
        reading=reading,
        features=features,
        devices=devices,
        adam=config.adam,
        digests=models.digests,
        bf16=bf16,
        validation=validation,
        workers=arguments.workers,
        save_every=arguments.save_every,
        on_step=_print_step,
    )


def _print_step(report: dict[str, Any]) -> None:
    """The progress line of one step."""
    figures = "  ".join(
        f"{name} {value:.4g}" for name, value in report.items() if isinstance(value, float)
    )
    print(f"{report['stage']} step {report['step'] + 1}  {figures}", file=sys.stderr, flush=True)
