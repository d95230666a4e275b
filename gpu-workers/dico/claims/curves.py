"""The training curves as small line charts in one SVG, light and dark."""

from __future__ import annotations

from html import escape
from statistics import mean
from typing import Any

PANELS = {
    "pac_s": "PAC-S (2 · cosine)",
    "clip_s": "CLIP-S",
    "cider": "CIDEr-D",
    "kl": "KL to the start, nats",
    "rep_1": "rep-1",
    "rep_2": "rep-2",
    "bad_endings": "bad endings",
    "mean_length": "words",
}
COLOURS = ("#777777", "#b8860b", "#d1495b", "#7b2d8b", "#2a7f62", "#1f6fb2")
WIDTH, HEIGHT, LEFT, GAP, COLUMNS = 250, 140, 46, 40, 4

# Method -> metric -> step -> mean over seeds.
Series = dict[str, dict[str, dict[int, float]]]


def series_of(records: list[dict[str, Any]]) -> Series:
    """Means over seeds of every curve."""
    seen: dict[str, dict[str, dict[int, list[float]]]] = {}
    for record in records:
        for point in record["curves"]:
            for name, value in point.items():
                steps = seen.setdefault(record["method"], {}).setdefault(name, {})
                steps.setdefault(int(point["step"]), []).append(value)
    return {
        method: {
            name: {step: mean(values) for step, values in steps.items()}
            for name, steps in curves.items()
            if name != "step"
        }
        for method, curves in seen.items()
    }


def curves_svg(series: Series) -> str:
    """Panels with one line for each method, and a legend."""
    rows = -(-len(PANELS) // COLUMNS)
    width, height = COLUMNS * (WIDTH + GAP + LEFT), rows * (HEIGHT + 2 * GAP) + 30
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="11" role="img" '
        'aria-label="Training curves of all methods">',
        "<style>text{fill:#222}.grid{stroke:#ddd}@media(prefers-color-scheme:dark)"
        "{text{fill:#ddd}.grid{stroke:#444}}</style>",
    ]
    for index, method in enumerate(series):
        x, colour = 20 + index * 160, COLOURS[index % len(COLOURS)]
        drawn.append(f'<path d="M{x} 16h18" stroke="{colour}" stroke-width="2"/>')
        drawn.append(f'<text x="{x + 23}" y="20">{escape(method)}</text>')
    for index, (name, title) in enumerate(PANELS.items()):
        row, column = divmod(index, COLUMNS)
        x, y = column * (WIDTH + GAP + LEFT) + LEFT, row * (HEIGHT + 2 * GAP) + 30 + GAP
        drawn.append(f'<g transform="translate({x} {y})">')
        drawn += _panel(title, [curves[name] for curves in series.values()])
        drawn.append("</g>")
    return "\n".join([*drawn, "</svg>", ""])


def _panel(title: str, curves: list[dict[int, float]]) -> list[str]:
    values = [value for curve in curves for value in curve.values()]
    low, high = min(values), max(values)
    room = (high - low) or max(abs(high), 1e-3)
    last = max(step for curve in curves for step in curve) or 1

    def place(step: int, value: float) -> str:
        return f"{step / last * WIDTH:.1f} {HEIGHT - (value - low) / room * HEIGHT:.1f}"

    drawn = [f'<text y="-10" font-weight="600">{escape(title)}</text>']
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT * (1 - share)
        drawn.append(f'<path class="grid" d="M0 {y}h{WIDTH}"/>')
        label = f"{low + share * room:.3g}"
        drawn.append(f'<text x="-6" y="{y + 4}" text-anchor="end">{label}</text>')
    drawn.append(f'<text y="{HEIGHT + 16}">0</text>')
    drawn.append(f'<text x="{WIDTH}" y="{HEIGHT + 16}" text-anchor="end">step {last}</text>')
    for index, curve in enumerate(curves):
        path = "L".join(place(step, value) for step, value in sorted(curve.items()))
        colour = COLOURS[index % len(COLOURS)]
        drawn.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="1.8"/>')
    return drawn
