"""`python -m dico claims`: trains every method from one checkpoint and prints what holds."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dico.claims.plan import Budget, Run, Work


def add_claims_command(commands: Any) -> None:
    """Registers the command; PyTorch is loaded only when it runs."""
    claims = commands.add_parser(
        "claims",
        help="XE, SCST, DPO and DiCO side by side; finished runs are kept and not run again",
    )
    claims.add_argument("--base", type=Path, default=Path("models/scenes-base"))
    claims.add_argument(
        "--out", type=Path, help="docs/results, or docs/results/claims-quick with --quick"
    )
    claims.add_argument(
        "--cache", type=Path, default=Path(".data/claims"), help="of image features"
    )
    claims.add_argument("--quick", action="store_true", help="at most 15 minutes on 2 slow cores")
    claims.add_argument("--seeds", type=int, help="of each method (3; 2 with --quick)")
    claims.add_argument("--steps", type=int, help="updates of each method (150; 28 with --quick)")
    claims.add_argument("--processes", type=int, default=min(os.cpu_count() or 1, 2))
    claims.add_argument("--no-ablations", action="store_true", help="the comparison only")
    claims.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Learning rates, comparison, ablations; the result is written after each but the first."""
    import torch

    from dico.base_version import BaseVersion
    from dico.claims import plan
    from dico.claims.pictures import see_all

    torch.set_num_threads(1)
    started = time.monotonic()
    out = arguments.out or Path("docs/results/claims-quick" if arguments.quick else "docs/results")
    budget = plan.budget_of(arguments.steps, arguments.seeds, arguments.quick)
    base = BaseVersion.open(arguments.base, torch.device("cpu"))
    digest = base.manifest_sha256[:16]
    counts = "-".join(str(count) for count in budget.counts().values())
    pictures = arguments.cache / f"{digest}-{counts}.pt"
    print(f"{budget}\nseeing the scenes", flush=True)
    see_all(base, budget.counts(), pictures)
    work = plan.Work(
        base=arguments.base,
        pictures=pictures,
        records=out / "claims-runs",
        made_with={"base": base.manifest_sha256, "scenes": budget.counts()},
        processes=arguments.processes,
    )
    print("learning rates", flush=True)
    searched = plan.finish(work, plan.rate_runs(budget))
    rates = plan.best_rates(searched)
    print("comparison", flush=True)
    runs = [plan.start_run(), *plan.compared_runs(budget, rates)]
    write(out, work, budget, searched, runs, started)
    if not arguments.no_ablations:
        print("equal rates", flush=True)
        runs += plan.pressed_runs(budget)
        write(out, work, budget, searched, runs, started)
        print("ablations", flush=True)
        runs += plan.ablated_runs(budget, rates)
        write(out, work, budget, searched, runs, started)
    print((out / "claims.md").read_text())
    return 0


def write(
    out: Path,
    work: Work,
    budget: Budget,
    searched: list[dict[str, Any]],
    runs: list[Run],
    started: float,
) -> None:
    """Finishes the runs; writes claims.json, claims.md and the curves as JSON and SVG."""
    from dico.claims import curves, plan, table
    from dico.claims.methods import START, ablated, compared, pressed
    from dico.claims.verdicts import DICO, verdicts

    records = plan.finish(work, runs)
    rows = table.rows_of(records)
    figures = table.figures_of(rows)
    names = [method.name for method in compared()]
    series = curves.series_of([record for record in records if record["method"] in names])
    trained = [record for record in records if record["method"] in (START, *names)]
    said = [
        "# The paper's claims, tried on scenes",
        _how(work, budget, searched + records, time.monotonic() - started),
        "## Which claims hold",
        table.verdict_table(verdicts(figures)),
        "## The methods, from one checkpoint with equal updates",
        table.tables(figures, [START, *names]),
        "![Training curves](claims-curves.svg)\n",
        "## Learning rates",
        "Each method's was chosen among the same few on a seed of its own, at half the updates, "
        "by RefPAC-S on validation scenes.\n",
        table.rate_table(searched, plan.best_rates(searched)),
    ]
    equal = [method.name for method in pressed() if method.name in figures]
    if equal:
        said += [
            "## Equal learning rates",
            "Above those that the search takes, where every method leaves its start: whose "
            "captions break?\n",
            table.tables(figures, [START, *equal]),
        ]
    changed = [method.name for method in ablated() if method.name in figures]
    if changed:
        said += [
            "## Ablations",
            f"One thing changed in {DICO}: beta 0.2, tau 300, K 5, on-policy, decoder only.\n",
            table.tables(figures, [DICO, *changed]),
        ]
    said += ["## What they say", table.example_table(trained)]
    _write(out / "claims.json", json.dumps(rows, indent=1) + "\n")
    _write(out / "claims-curves.json", json.dumps(series, indent=1) + "\n")
    _write(out / "claims-curves.svg", curves.curves_svg(series))
    _write(out / "claims.md", "\n".join(said))


def _how(work: Work, budget: Budget, records: list[dict[str, Any]], seconds: float) -> str:
    hours = sum(record["seconds"] for record in records) / 3600
    return (
        f"`python -m dico claims` with {budget.steps} updates of 8 images, seeds 1 to "
        f"{budget.seeds}, {budget.scenes} held-out scenes in each set of styles, beams 5, base "
        f"version `{work.made_with['base'][:16]}`. All runs together took {hours:.2f} hours on one "
        f"thread each of: {_processor()}, {os.cpu_count()} cores, {platform.system()}; this start "
        f"{seconds / 60:.1f} minutes with {work.processes} at a time, finished runs kept.\n\n"
        "Mean ± sample standard deviation over seeds. “start” is the cross-entropy checkpoint that "
        "all methods begin from; XE goes on from it with people's captions of the same scenes. "
        "CLIP-S and PAC-S are the built-in evaluators', without a prompt "
        f"(weights `{_evaluators(records)}`). The preference judge "
        "reads the scene graph: of two captions the fluent one wins, then the one with more facts "
        "right minus facts wrong; ties count half.\n"
    )


def _evaluators(records: list[dict[str, Any]]) -> str:
    return records[0]["scores"][0]["evaluator_sha256"][:16]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
