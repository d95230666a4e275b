"""Writes the base version's figures into its model card, from its manifest.

python scripts/model-card.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
HELD_OUT_STYLE = "noto"
EVALUATORS = (
    "The evaluator (PAC-S) finds a picture's own caption among 100, and ranks the true caption "
    "above one with an error of each kind, 200 pairs a kind:"
)


Figures = dict[str, dict[str, dict[str, Any]]]


def said_table(metrics: Figures) -> str:
    """One line a style: what the captioner says that is right, wrong and missing."""
    lines = [
        "| style | all right | claims right | kinds recalled | grammatical, no kind twice "
        "| counts 2, 3, 4 right | relations right | says a relation |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for style, said in metrics["captioner"].items():
        counts = ", ".join(f"{said['counts_right'].get(n, 0):.2f}" for n in "234")
        figures = [said["clean"], 1 - said["facts_wrong"], said["kinds_recalled"], said["once"]]
        shown = [f"{figure:.3f}" for figure in figures] + [counts]
        shown += [f"{1 - said['facts_wrong_by_type'].get('relation', 0):.3f}"]
        shown += [f"{said['relation_said']:.3f}"]
        lines.append(f"| {_name(style)} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def judged_table(metrics: Figures) -> str:
    """One line a style: how often the evaluator ranks the truth above each kind of error."""
    judged = metrics["evaluators"]
    errors = list(next(iter(judged.values()))["by_error"])
    lines = [
        "| style | R@1 of 100 | " + " | ".join(errors) + " |",
        "|---" * (2 + len(errors)) + "|",
    ]
    for style, own in judged.items():
        figures = [own["recall_at_1_of_100"], *(own["by_error"][error] for error in errors)]
        shown = " | ".join(f"{figure:.2f}" for figure in figures)
        lines.append(f"| {_name(style)} | {shown} |")
    return "\n".join(lines)


def _name(style: str) -> str:
    return f"{style} (never trained on)" if style == HELD_OUT_STYLE else style


def main() -> None:
    """Replaces what stands between the marks."""
    card = ROOT / "models/README.md"
    metrics = json.loads((ROOT / "models/scenes-base/manifest.json").read_text())["metrics"]
    tables = f"{said_table(metrics)}\n\n{EVALUATORS}\n\n{judged_table(metrics)}"
    text, count = re.subn(
        f"{BEGIN}.*{END}", f"{BEGIN}\n\n{tables}\n\n{END}", card.read_text(), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{card} has no place for the figures between {BEGIN} and {END}")
    card.write_text(text)


if __name__ == "__main__":
    main()
