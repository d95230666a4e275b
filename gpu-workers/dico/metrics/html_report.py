"""An evaluation as one HTML file that needs nothing else: table, charts, pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from dico.metrics.evaluation import Evaluation
from dico.pixels import square_pixels

THUMBNAIL_SIDE = 144
SHOWN = 24
_BINS = 20
_SCORES = ("cider", "rouge_l", "clip_s", "ref_clip_s", "pac_s", "ref_pac_s", "words")
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:76rem;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}small,.quiet{color:#666}
.row{display:flex;flex-wrap:wrap;gap:1.5rem}table{border-collapse:collapse}
td,th{padding:.15rem .8rem .15rem 0;text-align:left}
td.n{text-align:right;font-variant-numeric:tabular-nums}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(21rem,1fr));gap:1rem}
.card{display:flex;gap:.8rem;border:1px solid #ddd;border-radius:6px;padding:.7rem}
.card div{overflow-wrap:anywhere}
.card img{width:9rem;height:9rem;border-radius:4px;flex:none}.card p{margin:0 0 .3rem}
details ul{margin:.2rem 0;padding-left:1.1rem}svg{font:11px system-ui,sans-serif}
"""


def html_report(
    evaluation: Evaluation, title: str, facts: dict[str, str], paths: list[Path]
) -> str:
    """The whole page.

    Args:
        evaluation: What to show.
        title: The page's heading.
        facts: Name and value of what the evaluation was made of.
        paths: Where each of the evaluation's pictures lies, in its order; all can be decoded.
    """
    rows = evaluation.pictures
    order = sorted(range(len(rows)), key=lambda row: (rows[row]["cider"], rows[row]["pac_s"]))
    best, worst = order[::-1][:SHOWN], order[:SHOWN]
    rest = order[SHOWN : len(order) - SHOWN]
    between = rest[:: max(len(rest) // SHOWN, 1)][:SHOWN]
    shown = [("Worst", worst), ("In between", between), ("Best", best)]
    sections = "".join(
        f"<h2>{name} by CIDEr</h2><div class=cards>"
        + "".join(_card(rows[row], paths[row]) for row in chosen)
        + "</div>"
        for name, chosen in shown
        if chosen
    )
    charts = [_histogram(name, [row[name] for row in rows]) for name in _SCORES]
    about = "".join(
        f"<tr><th>{escape(name)}<td><code>{escape(value)}</code>" for name, value in facts.items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1><table>{about}</table>"
        f"<h2>Figures</h2><div class=row>{_tables(evaluation)}</div>"
        f"<h2>Distribution over pictures</h2><div class=row>{''.join(charts)}</div>"
        f"<h2>By length of n-gram, and by rank</h2><div class=row>{_curves(evaluation)}</div>"
        f"{sections}</html>\n"
    )


def _tables(evaluation: Evaluation) -> str:
    tables = [
        f"<table><tr><th colspan=2>{escape(group)}"
        + "".join(
            f"<tr><td>{escape(name)}<td class=n>{'–' if value is None else f'{value:.4f}'}"
            for name, value in figures.items()
        )
        + "</table>"
        for group, figures in evaluation.figures.items()
    ]
    tables += [
        f"<p class=quiet>{escape(name)} is absent: {escape(reason)}"
        for name, reason in evaluation.absent.items()
    ]
    return "".join(tables)


def _card(row: dict[str, Any], path: Path) -> str:
    scores = " · ".join(f"{name} {row[name]:.3g}" for name in _SCORES)
    human = "".join(f"<li>{escape(caption)}" for caption in row["human_captions"])
    return (
        f'<div class=card><img alt="" src="{_thumbnail(path)}"><div>'
        f"<p><b>{escape(row['caption'])}</b><p class=quiet><small>{scores}</small>"
        f"<details><summary><small>{escape(row['file'])}</small></summary><ul>{human}</ul>"
        "</details></div></div>"
    )


def _thumbnail(path: Path) -> str:
    """What the captioner sees, larger, as a data URI."""
    with Image.open(path) as image:
        picture = Image.fromarray(square_pixels(image, THUMBNAIL_SIDE))
    jpeg = io.BytesIO()
    picture.save(jpeg, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()


def _histogram(name: str, values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    width = (high - low) / _BINS or 1.0
    counts = [0] * _BINS
    for value in values:
        counts[min(int((value - low) / width), _BINS - 1)] += 1
    tallest = max(counts)
    bars = "".join(
        f'<rect x="{10 * place}" y="{80 - 70 * count / tallest:.1f}" width="9" '
        f'height="{70 * count / tallest:.1f}" fill="#4a7fb5"/>'
        for place, count in enumerate(counts)
    )
    mean = sum(values) / len(values)
    return (
        f'<svg width="210" height="112" role="img" aria-label="{name}">{bars}'
        f'<text x="0" y="94">{low:.3g}</text><text x="200" y="94" text-anchor="end">{high:.3g}'
        f'</text><text x="100" y="108" text-anchor="middle">{name}, mean {mean:.3g}</text></svg>'
    )


def _curves(evaluation: Evaluation) -> str:
    """BLEU, repetition and variety over n; recall over rank."""
    traditional, fluent = evaluation.figures["traditional"], evaluation.figures["fluency"]
    found = evaluation.figures["retrieval"]
    series = [
        ("BLEU-1 to 4", [traditional[f"bleu_{n}"] for n in range(1, 5)]),
        ("rep-1 to 4", [fluent[f"rep_{n}"] for n in range(1, 5)]),
        ("distinct-1 to 4", [fluent[f"distinct_{n}"] for n in range(1, 5)]),
        ("R@1, 5, 10: picture by caption", [found[f"image_recall_at_{k}"] for k in (1, 5, 10)]),
        ("R@1, 5, 10: caption by picture", [found[f"caption_recall_at_{k}"] for k in (1, 5, 10)]),
    ]
    return "".join(_line(name, [value or 0.0 for value in values]) for name, values in series)


def _line(name: str, values: list[float]) -> str:
    step = 160 / (len(values) - 1)
    points = [(20 + step * place, 80 - 65 * value) for place, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="#b5604a"/>'
        f'<text x="{x:.1f}" y="{y - 6:.1f}" text-anchor="middle">{value:.2f}</text>'
        for (x, y), value in zip(points, values, strict=True)
    )
    return (
        f'<svg width="200" height="104" role="img" aria-label="{name}">'
        f'<polyline points="{path}" fill="none" stroke="#b5604a" stroke-width="1.5"/>{dots}'
        f'<text x="100" y="100" text-anchor="middle">{name}</text></svg>'
    )
