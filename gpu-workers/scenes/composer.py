"""Draws a scene graph as a picture: place, things, weather and the flaws of real files."""

from __future__ import annotations

import io
import math
import random
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from scenes.backgrounds import paint_background
from scenes.kinds import BACKGROUND, COLOURS, INDEX_BY_NAME, KINDS, RECOLOURABLE
from scenes.painter import lit
from scenes.places import AIRBORNE, PLACES, WATERBORNE
from scenes.sampler import Box
from scenes.scene import Scene, Time, Weather, generator_for
from scenes.sprites import HELD_OUT_STYLE, TRAINING_STYLES, placed_sprite

__all__ = [
    "HELD_OUT_STYLE",
    "TRAINING_STYLES",
    "cells_from_boxes",
    "draw_collage",
    "draw_scene",
    "kind_cells",
    "style_of",
]

# Things keep more of their own colour than the place does, so that colours stay nameable.
_THING_LIGHT: dict[Time, tuple[float, float, float]] = {
    "day": (1.0, 1.0, 1.0),
    "night": (0.80, 0.82, 0.94),
    "dawn": (1.0, 0.96, 0.96),
    "sunset": (1.0, 0.93, 0.86),
}


def style_of(scene: Scene) -> str:
    """The training style that a scene is drawn in unless another is asked for."""
    return generator_for("style", scene.seed).choice(TRAINING_STYLES)


@lru_cache(maxsize=1)
def _noise_tile() -> NDArray[np.float32]:
    """Unit noise to cut windows from: drawing it afresh would cost more than the scene."""
    return np.random.default_rng(7).standard_normal((512, 512, 3)).astype(np.float32)


@lru_cache(maxsize=1)
def _shadow_mask() -> Image.Image:
    """A soft ellipse."""
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).ellipse((12, 12, 52, 52), 150)
    return mask.filter(ImageFilter.GaussianBlur(6))


def _drop_shadow(picture: Image.Image, box: Box, size: int) -> None:
    left, _, right, bottom = (side * size for side in box)
    width = max(round((right - left) * 1.15), 2)
    height = max(round(width * 0.3), 2)
    mask = _shadow_mask().resize((width, height), Image.Resampling.BILINEAR)
    corner = round((left + right - width) / 2), round(bottom - height * 0.55)
    picture.paste((14, 14, 26), (*corner, corner[0] + width, corner[1] + height), mask)


def _draw_thing(
    picture: Image.Image,
    style: str,
    kind: str,
    colour: str | None,
    box: Box,
    generator: random.Random,
    light: tuple[float, float, float],
    degrees: float,
) -> None:
    """Pastes one sprite into its box, turned a little and lit."""
    size = picture.width
    side = (box[2] - box[0]) * size
    turn = generator.uniform(-degrees, degrees)
    sprite = placed_sprite(style, kind, colour, side, turn, generator.random() < 0.5)
    # A few per cent of tint: less than what would change a colour's name.
    gains = np.array([k * generator.uniform(0.95, 1.04) for k in light] + [1.0], np.float32)
    pixels = np.minimum(np.asarray(sprite) * gains, 255).astype(np.uint8)
    sprite = Image.fromarray(pixels, "RGBA")
    middle_x, middle_y = (box[0] + box[2]) / 2 * size, (box[1] + box[3]) / 2 * size
    corner = round(middle_x - sprite.width / 2), round(middle_y - sprite.height / 2)
    picture.paste(sprite, corner, sprite)


def _draw_fog(picture: Image.Image, time: Time, generator: random.Random, strength: float) -> None:
    """Haze that thins towards the viewer."""
    size = picture.width
    haze = (96, 102, 122) if time == "night" else lit((226, 230, 236), time)
    rows = np.linspace(1.0, 0.72, size) * (strength * generator.uniform(0.85, 1.1) * 255)
    mask = Image.fromarray(rows.astype(np.uint8)[:, None], "L").resize((size, size))
    picture.paste(haze, (0, 0), mask)


def _draw_weather(
    picture: Image.Image, weather: Weather, time: Time, generator: random.Random
) -> None:
    """Rain, snow flakes or the last of the haze in front of everything."""
    size = picture.width
    if weather == "fog":
        _draw_fog(picture, time, generator, 0.16)
    if weather not in ("rain", "snow"):
        return
    # Drawn at twice the size, so that thin streaks keep soft edges.
    mask = Image.new("L", (size * 2, size * 2))
    draw = ImageDraw.Draw(mask)
    side = size * 2
    if weather == "rain":
        slant = generator.uniform(-0.03, 0.03)
        for _ in range(70):
            x, y = generator.random(), generator.uniform(-0.05, 1)
            length = generator.uniform(0.05, 0.09)
            ends = (x * side, y * side, (x + slant) * side, (y + length) * side)
            draw.line(ends, 190, max(1, side // 128))
    else:
        for _ in range(70):
            x, y = generator.random() * side, generator.random() * side
            radius = generator.uniform(0.005, 0.011) * side
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), 235)
    fill = lit((200, 214, 236), time) if weather == "rain" else (250, 251, 255)
    if time == "night" and weather == "rain":
        fill = (130, 144, 186)
    picture.paste(fill, (0, 0), mask.reduce(2))


def _finish(picture: Image.Image, generator: random.Random, augment: bool) -> Image.Image:
    """Dithers the gradients; with `augment` also the flaws of cameras, screens and files."""
    size = picture.width
    pixels = np.asarray(picture).astype(np.float32)
    strength = 1.2
    if augment:
        gains = np.array([generator.uniform(0.95, 1.05) for _ in range(3)], np.float32)
        brightness = generator.uniform(-8, 8)
        pixels = pixels * (gains * generator.uniform(0.94, 1.06)) + np.float32(brightness)
        strength = generator.choice((1.2, 1.2, 2.5, 4.0, 6.0))
    pixels += _noise_window(size, generator) * np.float32(strength)
    np.clip(pixels + 0.5, 0, 255, out=pixels)
    finished = Image.fromarray(pixels.astype(np.uint8), "RGB")
    if augment and generator.random() < 0.12:
        finished = finished.filter(ImageFilter.GaussianBlur(generator.uniform(0.3, 0.7)))
    if augment and generator.random() < 0.3:
        stored = io.BytesIO()
        finished.save(stored, "JPEG", quality=generator.randint(45, 92))
        finished = Image.open(stored).convert("RGB")
    return finished


def _noise_window(size: int, generator: random.Random) -> NDArray[np.float32]:
    tile = _noise_tile()
    if size > tile.shape[0]:
        repeats = math.ceil(size / tile.shape[0]) + 1
        tile = np.tile(tile, (repeats, repeats, 1))
    span = tile.shape[0] - size + 1
    x, y = generator.randrange(span), generator.randrange(span)
    return tile[y : y + size, x : x + size]


def draw_scene(
    scene: Scene, style: str | None = None, size: int = 128, augment: bool = True
) -> Image.Image:
    """Draws a scene; the same scene, style and size give the same pixels.

    Args:
        scene: What to draw.
        style: Art style of all things; None takes the one of `style_of`.
        size: Side of the square picture in pixels.
        augment: Whether to add tint, noise, blur and JPEG artefacts on top of dithering.

    Returns:
        An RGB picture.
    """
    style = style or style_of(scene)
    place = PLACES[scene.place]
    generator = generator_for("draw", scene.seed)
    picture = paint_background(scene.place, scene.time, scene.weather, generator, size)
    if scene.weather == "fog":
        _draw_fog(picture, scene.time, generator, 0.45)
    light = _THING_LIGHT[scene.time]
    for group in scene.groups:
        swims = group.kind in WATERBORNE and place.water is not None
        floats = group.kind in AIRBORNE or place.ground is None or swims
        for box in group.boxes:
            if not floats:
                _drop_shadow(picture, box, size)
            degrees = 5.0 if swims else 9.0
            _draw_thing(picture, style, group.kind, group.colour, box, generator, light, degrees)
    _draw_weather(picture, scene.weather, scene.time, generator)
    return _finish(picture, generator_for("finish", scene.seed, style), augment)


def draw_collage(
    seed: int, grid: int, styles: tuple[str, ...] = TRAINING_STYLES, size: int = 128
) -> tuple[Image.Image, list[tuple[int, Box]]]:
    """Distinct kinds on a grid over some place: material for learning which kind is where.

    Args:
        seed: Decides everything.
        grid: Things along one side, 2-4.
        styles: Art styles to draw from, one for each picture.
        size: Side of the square picture in pixels.

    Returns:
        The picture, and each thing's class index with its box in shares of the sides.
    """
    generator = generator_for("collage", seed, grid)
    place = generator.choice(list(PLACES.values()))
    time, weather = generator.choice(place.times), generator.choice(place.weathers)
    picture = paint_background(place.name, time, weather, generator, size)
    style = generator.choice(styles)
    cell = 1 / grid
    things: list[tuple[int, Box]] = []
    for index, kind in enumerate(generator.sample(KINDS, grid * grid)):
        row, column = divmod(index, grid)
        side = cell * generator.uniform(0.7, 1.0)
        slack = (cell - side) / 2
        left = column * cell + slack + generator.uniform(-1, 1) * slack
        top = row * cell + slack + generator.uniform(-1, 1) * slack
        box = (left, top, left + side, top + side)
        colour = generator.choice(COLOURS) if kind.name in RECOLOURABLE else None
        light = _THING_LIGHT[time]
        _draw_thing(picture, style, kind.name, colour, box, generator, light, 12.0)
        things.append((INDEX_BY_NAME[kind.name], box))
    if generator.random() < 0.3:
        _draw_weather(picture, weather, time, generator)
    return _finish(picture, generator, augment=True), things


def cells_from_boxes(things: list[tuple[int, Box]], cells: int = 8) -> NDArray[np.int16]:
    """Class index seen at each cell's centre, [cells, cells]; `BACKGROUND` where nothing is.

    Later things hide earlier ones; boxes count without their outer tenth, where sprites are empty.
    """
    classes = np.full((cells, cells), BACKGROUND, np.int16)
    for index, (left, top, right, bottom) in things:
        margin = (right - left) * 0.05
        columns = _covered(left + margin, right - margin, cells)
        classes[_covered(top + margin, bottom - margin, cells), columns] = index
    return classes


def _covered(low: float, high: float, cells: int) -> slice:
    """The cells whose centres lie between two edges; at least the one in the middle."""
    first, last = math.ceil(low * cells - 0.5), math.floor(high * cells - 0.5)
    if last < first:
        first = last = min(max(math.floor((low + high) / 2 * cells), 0), cells - 1)
    return slice(max(first, 0), last + 1)


def kind_cells(scene: Scene, cells: int = 8) -> NDArray[np.int16]:
    """Class index of the thing seen at the centre of each cell of a scene, [cells, cells]."""
    things = [(INDEX_BY_NAME[group.kind], box) for group in scene.groups for box in group.boxes]
    return cells_from_boxes(things, cells)
