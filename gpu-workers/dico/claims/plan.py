"""Which runs there are, in what order, on how many processes; finished ones are kept on disk."""

from __future__ import annotations

import json
import os
import re
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from dico.claims.methods import START, Method, ablated, compared, pressed
from dico.claims.pictures import SetName

# Tried for each method on a seed of its own; the best by RefPAC-S on validation scenes is taken.
RATES = (6e-5, 2e-4, 6e-4)
RATE_SEED = 100


@dataclass(frozen=True)
class Budget:
    """How much is trained and measured.

    Attributes:
        steps: Updates of every method, 8 images each.
        seeds: Seeds of every compared method.
        ablation_seeds: Seeds of every ablation, and of every method at equal rates.
        scenes: Measured in each of the two sets of art styles.
        validation: Scenes that choose the learning rate and draw the curves.
        train: Scenes to train on.
    """

    steps: int
    seeds: int
    ablation_seeds: int
    scenes: int
    validation: int
    train: int

    def counts(self) -> dict[SetName, int]:
        """Scenes of each set."""
        return {
            "train": self.train,
            "validation": self.validation,
            "seen": self.scenes,
            "held_out": self.scenes,
        }


def budget_of(steps: int | None, seeds: int | None, quick: bool) -> Budget:
    """The full comparison, or one that two slow cores finish in a quarter of an hour.

    One step of 8 images with 5 beams takes .8 s on a core of 35 GFLOP/s, measuring a captioner on
    100 scenes 10 s.
    """
    default = Budget(28, 2, 1, 48, 24, 224) if quick else Budget(150, 3, 3, 200, 48, 1200)
    steps = steps or default.steps
    return Budget(
        steps=steps,
        seeds=seeds or default.seeds,
        ablation_seeds=min(seeds or default.seeds, default.ablation_seeds),
        scenes=default.scenes,
        validation=default.validation,
        train=min(8 * steps, default.train),
    )


@dataclass(frozen=True)
class Run:
    """One training and its measurement.

    Attributes:
        method: Name of the method.
        seed: Decides images and their order.
        learning_rate: After warm-up.
        steps: Updates.
        chooses_rate: Whether it only chooses the learning rate, on validation scenes.
    """

    method: str
    seed: int
    learning_rate: float
    steps: int
    chooses_rate: bool = False

    @property
    def file_name(self) -> str:
        """Of its record."""
        words = re.sub(r"[^a-z0-9.]+", "-", self.method.lower()).strip("-")
        rate = f"-rate-{self.learning_rate:g}" if self.chooses_rate else ""
        return f"{words}-{self.seed}{rate}.json"


def rate_runs(budget: Budget) -> list[Run]:
    """The search for learning rates, at half the updates."""
    return [
        Run(method.name, RATE_SEED, rate, max(budget.steps // 2, 1), chooses_rate=True)
        for method in compared()
        for rate in RATES
    ]


def start_run() -> Run:
    """Measures the common checkpoint."""
    return Run(START, 1, 0.0, 0)


def compared_runs(budget: Budget, rates: dict[str, float]) -> list[Run]:
    """Every compared method with every seed, seed by seed."""
    return _runs_of(compared(), budget.seeds, budget, rates)


def pressed_runs(budget: Budget) -> list[Run]:
    """What learns from an evaluator, at equal learning rates, seed by seed."""
    return _runs_of(pressed(), budget.ablation_seeds, budget, {})


def ablated_runs(budget: Budget, rates: dict[str, float]) -> list[Run]:
    """Every ablation, seed by seed."""
    return _runs_of(ablated(), budget.ablation_seeds, budget, rates)


def _runs_of(
    methods: list[Method], seeds: int, budget: Budget, rates: dict[str, float]
) -> list[Run]:
    return [
        Run(method.name, seed, method.learning_rate or rates[method.rates_of], budget.steps)
        for seed in range(1, seeds + 1)
        for method in methods
    ]


def best_rates(records: list[dict[str, Any]]) -> dict[str, float]:
    """Of each method the learning rate with the highest RefPAC-S, the smaller of equals."""
    best: dict[str, tuple[float, float]] = {}
    for record in sorted(records, key=lambda each: each["learning_rate"]):
        score = record["rows"][0]["metrics"]["ref_pac_s"]
        if record["method"] not in best or score > best[record["method"]][0]:
            best[record["method"]] = (score, record["learning_rate"])
    return {method: rate for method, (_, rate) in best.items()}


@dataclass(frozen=True)
class Work:
    """Where everything lies and what it was made with.

    Attributes:
        base: Folder of the base version.
        pictures: File of `dico.claims.pictures.see_all`.
        records: Folder of the finished runs.
        made_with: What a record has to agree with to be used again.
        processes: At a time, one thread each.
    """

    base: Path
    pictures: Path
    records: Path
    made_with: dict[str, Any]
    processes: int


def finish(work: Work, runs: list[Run]) -> list[dict[str, Any]]:
    """Records of all runs, in their order; only those that are not on disk are run."""
    work.records.mkdir(parents=True, exist_ok=True)
    found = {run: kept(work, run) for run in runs}
    missing = [run for run in runs if found[run] is None]
    print(f"{len(runs)} runs, {len(runs) - len(missing)} of them on disk", flush=True)
    with ProcessPoolExecutor(work.processes, mp_context=get_context("spawn")) as pool:
        futures = {pool.submit(_run, work, run): run for run in missing}
        for done, future in enumerate(as_completed(futures), start=1):
            run, record = futures[future], future.result()
            found[run] = record
            print(
                f"  {done} of {len(missing)}  {run.method}, seed {run.seed}, "
                f"rate {run.learning_rate:g}: {record['seconds']:.0f} s",
                flush=True,
            )
    return [record for run in runs if (record := found[run]) is not None]


def _run(work: Work, run: Run) -> dict[str, Any]:
    # Each process loads PyTorch and the base itself.
    import torch

    from dico.base_version import BaseVersion
    from dico.claims.training import train_and_measure

    torch.set_num_threads(1)
    base = BaseVersion.open(work.base, torch.device("cpu"))
    record = train_and_measure(run, base, work.pictures) | {"made_with": work.made_with}
    path = work.records / run.file_name
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n")
    os.replace(partial, path)
    return record


def kept(work: Work, run: Run) -> dict[str, Any] | None:
    """The run's record on disk, if it was made with the same base, scenes, rate and steps."""
    path = work.records / run.file_name
    if not path.exists():
        return None
    record = json.loads(path.read_text())
    same = record["made_with"] == work.made_with and asdict(run).items() <= record.items()
    return record if same else None
