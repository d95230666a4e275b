"""The runs as tables of means and spread, and the whole result as one page of Markdown."""

from __future__ import annotations

from typing import Any

from dico.claims.pictures import STYLE
from dico.claims.verdicts import Figures, Verdict, spread

# Columns of the printed tables; claims.json has every metric.
COLUMNS = {
    "clip_s": "CLIP-S",
    "pac_s": "PAC-S",
    "ref_pac_s": "RefPAC-S",
    "bleu_4": "BLEU-4",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr-D",
    "right_per_caption": "facts right",
    "wrong_per_caption": "facts wrong",
    "preferred_to_start": "preferred to the start",
    "grammatical": "grammatical",
    "rep_1": "rep-1",
    "rep_2": "rep-2",
    "bad_endings": "bad endings",
    "mean_length": "words",
    "vocabulary": "vocabulary",
    "recall_at_1": "R@1",
    "kl": "KL, nats",
}
STYLES = {"seen": "art styles of the training", "held_out": f"held-out style {STYLE['held_out']}"}


def rows_of(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of claims.json."""
    return [
        {
            "method": record["method"],
            "reward": record["reward"],
            "style": row["style"],
            "seed": record["seed"],
            "steps": record["steps"],
            "metrics": row["metrics"],
        }
        for record in records
        for row in record["rows"]
    ]


def figures_of(rows: list[dict[str, Any]]) -> Figures:
    """Rows by method, style and metric; the values of the seeds in their order."""
    figures: Figures = {}
    for row in rows:
        metrics = figures.setdefault(row["method"], {}).setdefault(row["style"], {})
        for name, value in row["metrics"].items():
            metrics.setdefault(name, []).append(value)
    return figures


def tables(figures: Figures, methods: list[str]) -> str:
    """One table for each set of styles, a row for each method."""
    written: list[str] = []
    for style, words in STYLES.items():
        written += [f"**{words}**", ""]
        written.append("| method | seeds | " + " | ".join(COLUMNS.values()) + " |")
        written.append("|---" * (len(COLUMNS) + 2) + "|")
        for method in methods:
            metrics = figures[method][style]
            cells = [spread(metrics[name]) for name in COLUMNS]
            written.append(f"| {method} | {len(metrics['kl'])} | " + " | ".join(cells) + " |")
        written.append("")
    return "\n".join(written)


def rate_table(records: list[dict[str, Any]], chosen: dict[str, float]) -> str:
    """What the search for learning rates saw."""
    written = [
        "| method | rate | RefPAC-S | CIDEr-D | rep-1 | taken |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        metrics = record["rows"][0]["metrics"]
        taken = "yes" if chosen[record["method"]] == record["learning_rate"] else ""
        written.append(
            f"| {record['method']} | {record['learning_rate']:g} | {metrics['ref_pac_s']:.4f} "
            f"| {metrics['cider']:.3f} | {metrics['rep_1']:.4f} | {taken} |"
        )
    return "\n".join(written) + "\n"


def verdict_table(found: list[Verdict]) -> str:
    """The claims and whether they hold."""
    written = ["| claim | holds here | numbers |", "|---|---|---|"]
    written += [f"| {each.claim} | **{each.holds}** | {each.because} |" for each in found]
    return "\n".join(written) + "\n"


def example_table(records: list[dict[str, Any]]) -> str:
    """What the methods' first seeds say of the same scenes, and which of them agree."""
    firsts = [record for record in records if record["seed"] == records[0]["seed"]]
    written = ["| scene | caption | said by |", "|---|---|---|"]
    for number in range(len(records[0]["examples"])):
        said: dict[str, list[str]] = {}
        for record in firsts:
            said.setdefault(record["examples"][number], []).append(record["method"])
        written += [
            f"| {number + 1} | {caption} | {', '.join(methods)} |"
            for caption, methods in said.items()
        ]
    return "\n".join(written) + "\n"
