"""What thumbs teach, by taste, seed, number of thumbs, noise and recipe.

    npm run bench:learning -- --plan headline            # 4 tastes or more, 3 seeds, 200 thumbs
    npm run bench:learning -- --plan all                 # hours
    npm run bench:learning -- --tastes-only              # how often the base pleases each taste
    npm run bench:learning -- --table                    # only prints what is there

A row that is there already is not run again. Rows end in docs/results/learning.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from dico.base_version import BaseVersion
from dico.parallel import map_forked
from scenes.tastes import TASTES, approves

from learning.experiments import ROOT, Experiment, run
from learning.plans import PLANS, experiments_of
from learning.table import print_tables
from learning.world import FRESH, World


def tastes_only(world: World, fresh: int) -> None:
    """Prints how often base and oracle (the best candidate) please, for every taste."""
    unseen = world.pictures(FRESH, fresh)
    for name, taste in TASTES.items():
        base = sum(approves(taste, each.base_caption, each.scene) for each in unseen)
        best = sum(
            any(
                approves(taste, world.base.tokenizer.decode(tokens), each.scene)
                for tokens in each.candidates.tokens
            )
            for each in unseen
        )
        print(f"{name:16} base {base / len(unseen):.3f}  oracle {best / len(unseen):.3f}")


def said_of(row: dict[str, Any]) -> str:
    """A line as an experiment ends."""
    return (
        f"{row['taste']:14} {row['recipe']:24} {row['thumbs']:4} {row['noise']:.1f} "
        f"seed {row['seed']} round {row['round']}  approval {row['approval_before']:.3f} > "
        f"{row['approval_trained']:.3f}  facts {row['facts_right_before']:.3f} > "
        f"{row['facts_right_trained']:.3f}  gram {row['grammatical_trained']:.3f}  recall "
        f"{row['recall_before']:.2f} > {row['recall_trained']:.2f}  {row['verdict']} "
        f"{row['seconds']:.0f} s"
    )


def main() -> None:
    """Runs a plan and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, default=ROOT / "models/scenes-base")
    parser.add_argument("--cache", type=Path, default=ROOT / ".data/learning")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/learning.json")
    parser.add_argument("--plan", choices=[*PLANS, "all"], default="headline")
    parser.add_argument("--tastes", help="instead of the plan's, comma between them")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fresh", type=int, default=300, help="pictures to judge on (300)")
    parser.add_argument("--processes", type=int, help="experiments at a time (one a core)")
    parser.add_argument("--tastes-only", action="store_true")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    base = BaseVersion.open(options.base, torch.device("cpu"))
    world = World(base, options.cache)
    if options.tastes_only:
        tastes_only(world, options.fresh)
        return
    rows_folder = options.cache / base.manifest_sha256[:16] / "rows"
    rows_folder.mkdir(exist_ok=True)
    tastes = options.tastes.split(",") if options.tastes else None
    planned = experiments_of(options.plan, tastes, options.seeds)
    missing = [each for each in planned if not (rows_folder / each.file_name).exists()]
    if missing and not options.table:
        world.pictures(FRESH, options.fresh)
        for first, count in sorted({each.pictures for each in missing}):
            world.pictures(first, count)

        def finish(experiment: Experiment) -> list[dict[str, Any]]:
            rows = run(world, experiment, options.fresh)
            (rows_folder / experiment.file_name).write_text(json.dumps(rows, indent=1))
            return rows

        for rows in map_forked(finish, missing, options.processes):
            for row in rows:
                print(said_of(row), flush=True)
    rows = [
        row for path in sorted(rows_folder.glob("*.json")) for row in json.loads(path.read_text())
    ]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    print_tables(rows)


if __name__ == "__main__":
    main()
