"""The rows of docs/results/learning.json as tables: mean and spread over seeds."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

from learning.experiments import Experiment
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
        gains = gains_of(own)
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
        gains = gains_of(own)
        tastes = len({row["taste"] for row in own})
        print(
            f"| {recipe} | {thumbs} | {noise:.0%} | {tastes} | {statistics.mean(gains):+.3f}"
            f" | {min(gains):+.3f} |"
        )


def beside_the_evaluator(rows: list[Row]) -> None:
    """One line for each taste: what the evaluator alone made of the base, before the gate.

    Then what thumbs did, all at once and in two rounds.
    """
    print(
        f"| taste | base | evaluator alone | {Experiment.thumbs} thumbs | gain (least)"
        " | all facts right | in two rounds |"
    )
    print("|---|---|---|---|---|---|---|")
    for taste in (*TASTES, *FURTHER_TASTES):
        alone, thumbs = (
            [row for row in rows if row["taste"] == taste and is_default(row, recipe)]
            for recipe in ("evaluator alone", "dico")
        )
        if not alone or not thumbs:
            continue
        rounds = [row for row in rows if row["taste"] == taste and is_second_round(row)]
        gains = gains_of(thumbs)
        print(
            f"| {taste} | {mean(thumbs, 'approval_before')} | {mean(alone, 'approval_trained')}"
            f" | {mean(thumbs, 'approval_after')} | {statistics.mean(gains):+.3f}"
            f" ({min(gains):+.3f}) | {change(thumbs, 'facts_right')}"
            f" | {mean(rounds, 'approval_after') if rounds else '-'} |"
        )


def is_default(row: Row, recipe: str) -> bool:
    """Whether nothing but the recipe differs from an experiment's defaults."""
    defaults = (recipe, Experiment.thumbs, Experiment.noise)
    return (row["recipe"], row["thumbs"], row["noise"]) == defaults


def is_second_round(row: Row) -> bool:
    """Whether the default number of thumbs came in two rounds."""
    return (row["round"], row["thumbs"]) == (2, Experiment.thumbs)


def gains_of(rows: list[Row]) -> list[float]:
    """By how much approval rose in each row, by what serves after the gate."""
    return [row["approval_after"] - row["approval_before"] for row in rows]


def mean(rows: list[Row], name: str) -> str:
    """Of one figure, for a cell."""
    return f"{statistics.mean(row[name] for row in rows):.3f}"


def change(rows: list[Row], name: str) -> str:
    """Means before and after."""
    return f"{mean(rows, f'{name}_before')} → {mean(rows, f'{name}_after')}"
