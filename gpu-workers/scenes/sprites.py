"""The drawings of the 200 kinds in five art styles, ready to be pasted at any size and angle."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scenes.kinds import INDEX_BY_NAME, KINDS

TRAINING_STYLES: tuple[str, ...] = ("fluent", "fluent-flat", "twemoji", "emojione")
"""Art styles that models are trained on."""

HELD_OUT_STYLE = "noto"
"""Art style that no model has seen; it measures how well recognition carries over."""

_FOLDER = Path(__file__).parent / "sprites"
_STAND_IN = "fluent-flat"  # Drawn where a style lacks a kind; it has all of them.

# Drawings that show something else than the kind's name says, or a whole scene.
_UNSUITABLE: dict[str, frozenset[str]] = {
    "twemoji": frozenset({"tennis racket"}),
    "emojione": frozenset({"tent", "telephone", "basketball"}),
}

_TARGETS: dict[str, tuple[int, int, int]] = {
    "red": (222, 36, 40),
    "yellow": (250, 208, 36),
    "green": (52, 168, 68),
    "blue": (40, 104, 224),
    "purple": (136, 64, 200),
    "pink": (250, 130, 190),
}

_ANY_HUE = {"butterfly", "umbrella", "balloon", "racing car", "lollipop", "fish", "bird"}
_PALE = {"t-shirt"}
_LEAFY = {"tulip", "rose", "hibiscus"}


@lru_cache(maxsize=1)
def _index() -> tuple[int, int, dict[str, frozenset[str]]]:
    """Side of a cell in pixels, cells in a row, and the kinds each style lacks."""
    index = json.loads((_FOLDER / "index.json").read_text("utf-8"))
    missing = {style: frozenset(names) for style, names in index["missing"].items()}
    return index["cell"], index["columns"], missing


def has_kind(style: str, kind: str) -> bool:
    """Whether the style has a drawing of its own for the kind."""
    return kind not in _index()[2][style] and kind not in _UNSUITABLE.get(style, ())


@lru_cache(maxsize=8)
def _sheet(style: str) -> list[Image.Image]:
    """Every kind's RGBA drawing in a style's own sheet."""
    cell, columns, _ = _index()
    with Image.open(_FOLDER / f"{style}.webp") as picture:
        sheet = picture.convert("RGBA")
    return [
        sheet.crop((x * cell, y * cell, (x + 1) * cell, (y + 1) * cell))
        for y, x in (divmod(index, columns) for index in range(len(KINDS)))
    ]


def _recoloured(sprite: Image.Image, kind: str, colour: str) -> Image.Image:
    """The sprite with its main hue replaced, light and shade kept."""
    pixels = np.asarray(sprite).astype(np.float32)
    rgb, alpha = pixels[..., :3], pixels[..., 3]
    high, low = rgb.max(axis=-1), rgb.min(axis=-1)
    chroma = high - low
    saturation = chroma / np.maximum(high, 1.0)
    hue = _hue(rgb, high, chroma)
    vivid = (saturation > 0.22) & (chroma > 26) & (alpha > 8)
    if kind in _LEAFY:
        vivid &= (hue < 62) | (hue > 185)
    if kind in _PALE:
        vivid = (high > 40) & (alpha > 8)
    elif kind not in _ANY_HUE:
        weights = np.where(vivid, alpha * chroma, 0.0)
        histogram, _ = np.histogram(hue, bins=36, range=(0, 360), weights=weights)
        smooth = histogram + np.roll(histogram, 1) + np.roll(histogram, -1)
        main = (float(smooth.argmax()) + 0.5) * 10
        distance = np.abs((hue - main + 180) % 360 - 180)
        vivid &= distance < 38
    light = rgb @ np.array((0.3, 0.59, 0.11), np.float32)
    relative = light / max(float(np.percentile(light[vivid & (alpha > 200)], 55)), 1.0)
    target = np.array(_TARGETS[colour], np.float32)
    shade = np.clip(relative, 0.62, 1.0)[..., None]
    shine = (np.clip(relative - 1.0, 0.0, 1.0) * 0.5)[..., None]
    painted = target * shade
    painted += (255.0 - painted) * shine
    pixels[..., :3] = np.where(vivid[..., None], painted, rgb)
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8), "RGBA")


def _hue(
    rgb: NDArray[np.float32], high: NDArray[np.float32], chroma: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Hue in degrees, [H, W]."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    span = np.maximum(chroma, 1e-3)
    hue = np.where(
        high == red,
        (green - blue) / span % 6,
        np.where(high == green, (blue - red) / span + 2, (red - green) / span + 4),
    )
    return (hue * 60).astype(np.float32)


@lru_cache(maxsize=2400)
def _levels(style: str, kind: str, colour: str | None) -> tuple[Image.Image, ...]:
    """The sprite at full, half and quarter size with premultiplied alpha."""
    own = style if has_kind(style, kind) else _STAND_IN
    sprite = _sheet(own)[INDEX_BY_NAME[kind]]
    if colour is not None:
        sprite = _recoloured(sprite, kind, colour)
    full = sprite.convert("RGBa")
    return full, full.reduce(2), full.reduce(4)


def placed_sprite(
    style: str, kind: str, colour: str | None, side: float, degrees: float, mirrored: bool
) -> Image.Image:
    """One sprite scaled to `side` pixels, turned and mirrored, in an RGBA picture that fits it.

    Args:
        style: Art style; a kind that it lacks is drawn in a stand-in style.
        kind: Name of the kind.
        colour: One of `kinds.COLOURS`, or None for its own colours.
        side: Side of the upright sprite in pixels.
        degrees: Rotation about the centre, counter-clockwise.
        mirrored: Whether left and right are swapped.

    Returns:
        A square picture with the sprite's centre at its centre.
    """
    levels = _levels(style, kind, colour)
    # The smallest level that is not enlarged keeps the interpolation from skipping pixels.
    level = next((each for each in reversed(levels) if each.width >= side), levels[0])
    angle = math.radians(degrees)
    canvas = math.ceil(side * (abs(math.cos(angle)) + abs(math.sin(angle)))) + 2
    scale = level.width / side
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    flip = -1.0 if mirrored else 1.0
    middle, source = canvas / 2, level.width / 2
    row_x = (flip * cos, flip * -sin, source - flip * (cos - sin) * middle)
    row_y = (sin, cos, source - (sin + cos) * middle)
    placed = level.transform(
        (canvas, canvas), Image.Transform.AFFINE, (*row_x, *row_y), Image.Resampling.BILINEAR
    )
    return placed.convert("RGBA")
