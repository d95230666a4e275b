"""The rows of docs/results/learning.json as tables: mean and spread over seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from learning.plans import FURTHER_TASTES, TASTES

Row = dict[str, Any]


def print_tables(rows: list[Row]) -> None:
    """All rows by taste, means over `TASTES`, and each taste beside what the evaluator teaches."""
    by_taste(rows)
    print()
    over_tastes([row for row in rows if row["taste"] in TASTES])
    print()
    beside_the_evaluator(rows)


def by_taste(rows: list[Row]) -> None:
    """One line for each taste, recipe, number of thumbs and noise."""
    groups: dict[tuple[str, int, float, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["recipe"], row["thumbs"], row["noise"], row["taste"]].append(row)
    print(
        "| recipe | thumbs | wrong | taste | seeds | approval | gain (sd; least) | all facts right"
        " | facts wrong | grammatical | recall | PAC-S | served | seconds |"
    )
    print("|" + "---|" * 14)
    for (recipe, thumbs, noise, taste), own in sorted(groups.items()):
        gains = [row["approval_after"] - row["approval_before"] for row in own]
        spread = statistics.stdev(gains) if len(gains) > 1 else 0.0
        served = sum(row["verdict"] == "passed" for row in own)
        print(
            f"| {recipe} | {thumbs} | {noise:.0%} | {taste} | {len(own)}"
            f" | {change(own, 'approval')}"
            f" | {statistics.mean(gains):+.3f} ({spread:.3f}; {min(gains):+.3f})"
            f" | {change(own, 'facts_right')} | {change(own, 'facts_wrong')}"
            f" | {change(own, 'grammatical')} | {change(own, 'recall')} | {change(own, 'pac_s')}"
            f" | {served} of {len(own)} | {statistics.mean(r['seconds'] for r in own):.0f} |"
        )


def over_tastes(rows: list[Row]) -> None:
    """One line for each recipe, number of thumbs and noise."""
    over: dict[tuple[str, int, float], list[Row]] = defaultdict(list)
    for row in rows:
        over[row["recipe"], row["thumbs"], row["noise"]].append(row)
    print("| recipe | thumbs | wrong | tastes | mean gain | lowest |")
    print("|---|---|---|---|---|---|")
    for (recipe, thumbs, noise), own in sorted(over.items()):
        gains = [row["approval_after"] - row["approval_before"] for row in own]
        tastes = len({row["taste"] for row in own})
        print(
            f"| {recipe} | {thumbs} | {noise:.0%} | {tastes} | {statistics.mean(gains):+.3f}"
            f" | {min(gains):+.3f} |"
        )


def beside_the_evaluator(rows: list[Row]) -> None:
    """One line for each taste: what the evaluator alone made of the base, before the gate."""
    alone, thumbs = (
        {
            taste: [row for row in rows if row["taste"] == taste and is_default(row, recipe)]
            for taste in (*TASTES, *FURTHER_TASTES)
        }
        for recipe in ("evaluator alone", "dico")
    )
    print("| taste | base | evaluator alone | 200 thumbs | gain (least) | all facts right |")
    print("|---|---|---|---|---|---|")
    for taste, own in thumbs.items():
        if not own or not alone[taste]:
            continue
        trained = statistics.mean(row["approval_trained"] for row in alone[taste])
        gains = [row["approval_after"] - row["approval_before"] for row in own]
        before, after = change(own, "approval").split(" → ")
        print(
            f"| {taste} | {before} | {trained:.3f} | {after}"
            f" | {statistics.mean(gains):+.3f} ({min(gains):+.3f}) | {change(own, 'facts_right')} |"
        )


def is_default(row: Row, recipe: str) -> bool:
    """Whether nothing but the recipe differs from an experiment's defaults."""
    return (row["recipe"], row["thumbs"], row["noise"]) == (recipe, 200, 0.1)


def change(rows: list[Row], name: str) -> str:
    """Means before and after."""
    before = statistics.mean(row[f"{name}_before"] for row in rows)
    after = statistics.mean(row[f"{name}_after"] for row in rows)
    return f"{before:.3f} → {after:.3f}"
