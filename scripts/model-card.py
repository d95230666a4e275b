"""Writes the base version's figures into its model card, from its manifest.

python scripts/model-card.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MARK = "<!-- figures -->"


def table(metrics: dict[str, dict[str, dict[str, float]]]) -> str:
    """One line a style: the captioner's figures, then the evaluators'."""
    lines = [
        "| style | grammatical | clean | facts wrong | kinds left out | repeats a thing | "
        "evaluator R@1 of 100 | right above corrupted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for style, said in metrics["captioner"].items():
        judged = metrics["evaluators"][style]
        figures = [
            said[name]
            for name in ("grammatical", "clean", "facts_wrong", "kinds_left_out", "repetition")
        ]
        figures += [judged["recall_at_1_of_100"], judged["right_above_corrupted"]]
        name = f"{style} (never trained on)" if style == "noto" else style
        lines.append(f"| {name} | " + " | ".join(f"{figure:.3f}" for figure in figures) + " |")
    return "\n".join(lines)


def main() -> None:
    """Replaces the table that follows the mark."""
    card = ROOT / "models/README.md"
    manifest = json.loads((ROOT / "models/scenes-base/manifest.json").read_text())
    text = re.sub(
        rf"{MARK}\n(\n\|.*?\n(?!\|))?",
        f"{MARK}\n\n{table(manifest['metrics'])}\n",
        card.read_text(),
        flags=re.DOTALL,
    )
    card.write_text(text)


if __name__ == "__main__":
    main()
