"""The commands of `python -m dico`: draw scenes, check captions, pre-train, run one job."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from scenes.cli import add_scenes_commands

from dico.claims.cli import add_claims_command
from dico.evaluate_cli import add_evaluate_command
from dico.import_cli import add_import_command
from dico.train_cli import add_training_commands


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m dico", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_scenes_commands(commands)
    add_claims_command(commands)
    add_evaluate_command(commands)
    add_import_command(commands)
    add_training_commands(commands)

    pretrain = commands.add_parser(
        "pretrain", help="make the base version; every step resumes where it stopped"
    )
    pretrain.add_argument(
        "step", choices=["tower", "bank", "captioner", "facts", "evaluators", "release", "measure"]
    )
    pretrain.add_argument("--folder", type=Path, default=Path(".data/pretraining"))
    pretrain.add_argument("--minutes", type=float, default=17.0, help="budget of the step (17)")
    pretrain.add_argument(
        "--count", type=int, help="scenes in the bank (24000), or to measure on (1000)"
    )
    pretrain.add_argument(
        "--first", type=int, default=0, help="number of the first scene to measure on (0)"
    )
    pretrain.add_argument("--seed", type=int, default=1)
    pretrain.add_argument(
        "--from", dest="start", type=Path, help="version whose weights to train further"
    )
    pretrain.add_argument("--threads", type=int, default=1, help="threads of PyTorch (1)")
    pretrain.add_argument("--out", type=Path, default=Path("models/scenes-base"))
    pretrain.set_defaults(run=_pretrain)

    update = commands.add_parser("update", help="run one fine-tune job in its folder")
    update.add_argument("--job-dir", type=Path, required=True)
    update.add_argument("--base", type=Path, required=True, help="folder of the base version")
    update.add_argument(
        "--signing-key-env",
        default="DICO_SIGNING_KEY",
        help="variable holding the base64 Ed25519 seed that signs the manifest",
    )
    update.set_defaults(run=_update)
    parsed = parser.parse_args(arguments)
    return parsed.run(parsed)


def _pretrain(arguments: argparse.Namespace) -> int:
    # Loading PyTorch takes seconds; drawing scenes does not need it.
    from dico.pretraining import steps

    arguments.folder.mkdir(parents=True, exist_ok=True)
    match arguments.step:
        case "tower":
            steps.tower(
                arguments.folder,
                arguments.minutes,
                arguments.seed,
                arguments.start,
                arguments.threads,
            )
        case "bank":
            steps.bank(arguments.folder, arguments.count or 24_000, arguments.start)
        case "captioner":
            steps.captioner(arguments.folder, arguments.minutes, arguments.seed, arguments.start)
        case "facts":
            steps.facts(arguments.folder, arguments.minutes, arguments.seed, arguments.start)
        case "evaluators":
            steps.evaluators(arguments.folder, arguments.minutes, arguments.seed, arguments.start)
        case "measure":
            version = arguments.start or arguments.out
            steps.measure(version, arguments.count or steps.MEASURED, arguments.first)
        case _:
            signing_key = os.environ.get("DICO_SIGNING_KEY")
            steps.release(arguments.folder, arguments.out, signing_key, arguments.start)
    return 0


def _update(arguments: argparse.Namespace) -> int:
    from dico.run_job import run_job

    signing_key = os.environ.get(arguments.signing_key_env)
    if not signing_key:
        print(f"{arguments.signing_key_env} is not set", file=sys.stderr)
        return 2
    result = run_job(arguments.job_dir, arguments.base, signing_key)
    print(json.dumps({"status": result["status"]}))
    return 0
