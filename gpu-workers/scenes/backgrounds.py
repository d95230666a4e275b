"""Paints the places: gradients and simple shapes that no viewer takes for one of the kinds."""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image

from scenes.painter import Colour, Painter, blend, sky_colours
from scenes.places import PLACES
from scenes.rooms import (
    paint_bedroom,
    paint_classroom,
    paint_kitchen,
    paint_living_room,
    paint_stage,
    paint_table,
)
from scenes.scene import Time, Weather

_OVERSAMPLING = 2


def _tufts(paint: Painter, top: float, colour: Colour, number: int) -> None:
    pick = paint.generator
    for _ in range(number):
        x, y = pick.random(), pick.uniform(top, 0.99)
        paint.line([(x - 0.008, y - 0.018), (x, y), (x + 0.008, y - 0.018)], paint.colour(colour))


def _park(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.56)
    for index in range(9):
        x = (index + pick.uniform(0.1, 0.9)) / 9
        paint.ellipse(x, 0.52, 0.22, pick.uniform(0.16, 0.26), paint.colour((74, 142, 78), 0.12))
    paint.ground(0.55, 1, (124, 192, 92))
    start, end = pick.uniform(0.2, 0.8), pick.uniform(0.1, 0.9)
    path = [(start - 0.04, 0.55), (start + 0.04, 0.55), (end + 0.24, 1.0), (end - 0.24, 1.0)]
    paint.polygon(path, paint.colour((226, 208, 168)))
    for x in (pick.uniform(0.04, 0.2), pick.uniform(0.8, 0.96)):
        paint.rectangle(x - 0.006, 0.32, x + 0.006, 0.6, paint.colour((70, 76, 84)))
        glow = (255, 236, 150) if paint.time == "night" else paint.colour((236, 236, 224))
        paint.ellipse(x, 0.31, 0.045, 0.045, glow)
    _tufts(paint, 0.6, (86, 156, 66), 16)


def _beach(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.46)
    paint.ramp(0.46, 0.68, paint.colour((42, 138, 200)), paint.colour((96, 196, 220)))
    for _ in range(8):
        x, y = pick.random(), pick.uniform(0.48, 0.62)
        paint.line([(x, y), (x + 0.07, y)], paint.colour((176, 226, 240)))
    paint.hills(0.68, 0.03, paint.colour((248, 244, 230)))
    paint.hills(0.69, 0.02, paint.colour((240, 214, 158)))
    paint.ground(0.71, 1, (240, 212, 154))
    paint.specks(0.72, (206, 172, 112), 18)


def _street(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.58)
    walls = [(196, 150, 150), (164, 172, 196), (206, 190, 150), (150, 182, 172), (178, 156, 190)]
    x = -pick.uniform(0, 0.1)
    while x < 1:
        width, top = pick.uniform(0.13, 0.22), pick.uniform(0.2, 0.42)
        wall = blend(pick.choice(walls), (190, 196, 206), 0.35)
        paint.rectangle(x, top, x + width - 0.008, 0.6, paint.colour(wall))
        shine = (255, 222, 130) if paint.time == "night" else paint.colour((216, 228, 240))
        for row in range(int((0.54 - top) / 0.065)):
            for column in range(int(width / 0.05)):
                left, y = x + 0.018 + column * 0.048, top + 0.03 + row * 0.065
                dark = paint.time == "night" and pick.random() < 0.4
                fill = paint.colour((90, 96, 110)) if dark else shine
                paint.rectangle(left, y, left + 0.022, y + 0.032, fill)
        x += width
    paint.ground(0.58, 0.66, (190, 188, 184))
    paint.rectangle(0, 0.655, 1, 0.67, paint.colour((150, 148, 146)))
    paint.ground(0.67, 1, (104, 104, 114))
    shift = pick.uniform(-0.15, 0.05)
    for index in range(6):
        left = shift + index * 0.22
        paint.rectangle(left, 0.83, left + 0.12, 0.85, paint.colour((240, 236, 214)))


def _forest(paint: Painter) -> None:
    pick = paint.generator
    top, bottom = sky_colours(paint.time, paint.weather)
    paint.ramp(0, 0.62, blend(top, bottom, 0.5), bottom)
    for _ in range(10):
        x = pick.random()
        paint.rectangle(x, 0, x + 0.025, 0.62, paint.colour((120, 138, 112), 0.08))
    paint.hills(0.62, 0.1, paint.colour((86, 132, 84)))
    paint.ground(0.62, 1, (78, 120, 62))
    trunks = sorted(pick.uniform(0.52, 0.66) for _ in range(6))
    for index, foot in enumerate(trunks):
        x, width = (index * 0.37 + pick.uniform(0, 0.3)) % 1, pick.uniform(0.05, 0.09)
        bark = paint.colour((112, 80, 56), 0.15)
        paint.polygon(
            [(x, 0), (x + width, 0), (x + width * 1.25, foot), (x - width / 4, foot)], bark
        )
        paint.rectangle(x + width * 0.65, 0, x + width, foot - 0.03, blend(bark, (0, 0, 0), 0.2))
    for index in range(12):
        x = index / 11 + pick.uniform(-0.03, 0.03)
        leaf = paint.colour((50, 112, 58), 0.18)
        paint.ellipse(x, pick.uniform(-0.03, 0.05), 0.2, pick.uniform(0.16, 0.28), leaf)
    _tufts(paint, 0.66, (52, 96, 44), 20)


def _desert(paint: Painter) -> None:
    paint.sky(0.58)
    paint.hills(0.58, 0.16, paint.colour((214, 164, 104)))
    paint.hills(0.64, 0.12, paint.colour((228, 182, 118)))
    paint.ground(0.66, 1, (236, 192, 124))
    for y in (0.74, 0.82, 0.9):
        points = [(i / 8, y + (0.012 if i % 2 else -0.006)) for i in range(9)]
        paint.line(points, paint.colour((212, 162, 98)))


def _mountains(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.58)
    for x in (0.12, 0.82, 0.46):
        x, width = x + pick.uniform(-0.08, 0.08), pick.uniform(0.26, 0.36)
        top = pick.uniform(0.16, 0.3)
        rock = paint.colour((126, 132, 148), 0.1)
        paint.polygon([(x - width, 0.6), (x, top), (x + width, 0.6)], rock)
        paint.polygon(
            [(x, top), (x + width, 0.6), (x + width * 0.2, 0.6)], blend(rock, (0, 0, 0), 0.16)
        )
        cap = 0.32
        drop = top + (0.6 - top) * cap
        snow = [(x - width * cap, drop), (x, top), (x + width * cap, drop)]
        snow += [
            (x + width * 0.12, drop - 0.04),
            (x, drop + 0.015),
            (x - width * 0.14, drop - 0.035),
        ]
        paint.polygon(snow, paint.colour((246, 248, 252)))
    paint.hills(0.6, 0.05, paint.colour((112, 158, 96)))
    paint.ground(0.6, 1, (132, 174, 96))
    _tufts(paint, 0.64, (96, 140, 70), 16)


def _snow(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.54)
    paint.hills(0.54, 0.14, paint.colour((204, 216, 236)))
    paint.hills(0.6, 0.1, paint.colour((222, 230, 244)))
    paint.ground(0.61, 1, (240, 244, 252))
    for _ in range(7):
        x, y = pick.random(), pick.uniform(0.66, 0.97)
        paint.ellipse(x, y, pick.uniform(0.1, 0.24), 0.022, paint.colour((212, 222, 240)))


def _sky(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(1.0)
    top, bottom = sky_colours(paint.time, paint.weather)
    cloud = blend(bottom, (255, 255, 255), 0.5 if paint.time != "night" else 0.12)
    for index in range(7):
        paint.ellipse(index / 6, pick.uniform(0.98, 1.04), 0.3, 0.2, blend(cloud, top, 0.08))
    for _ in range(3):
        size = pick.uniform(0.2, 0.34)
        paint.cloud(pick.random(), pick.uniform(0.5, 0.86), size, cloud)


def _sea(paint: Painter) -> None:
    pick = paint.generator
    night = paint.time == "night"
    paint.ramp(
        0, 1, (10, 44, 92) if night else (70, 186, 226), (4, 16, 44) if night else (10, 78, 148)
    )
    if not night:
        for _ in range(4):
            x, wide = pick.uniform(0.05, 0.95), pick.uniform(0.02, 0.06)
            slant = pick.uniform(-0.16, 0.16)
            beam = [(x, 0), (x + wide, 0), (x + slant + wide * 2, 0.5), (x + slant, 0.5)]
            paint.polygon(beam, (92, 198, 232))
    paint.hills(0.86, 0.08, paint.colour((164, 152, 118)))
    paint.hills(0.9, 0.05, paint.colour((206, 186, 138)))
    for _ in range(9):
        x, height = pick.random(), pick.uniform(0.06, 0.2)
        points = [(x + (0.012 if i % 2 else -0.012), 0.92 - height * i / 5) for i in range(6)]
        paint.line(points, paint.colour((44, 138, 84), 0.2), 0.014)
    for _ in range(14):
        bubble = (110, 150, 190) if night else (206, 238, 250)
        paint.ring(pick.random(), pick.uniform(0.05, 0.8), pick.uniform(0.012, 0.03), bubble)


def _farm(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.52)
    paint.ground(0.52, 0.66, (150, 186, 96))
    paint.hills(0.54, 0.1, paint.colour((150, 186, 96)))
    for index in range(12):
        x = index / 11
        row = [(0.5 + (x - 0.5) * 0.9, 0.5), (0.5 + (x - 0.5) * 1.8, 0.68)]
        paint.line(row, paint.colour((206, 178, 84)), 0.02)
    x = pick.choice([0.1, 0.86])
    paint.rectangle(x - 0.06, 0.28, x + 0.06, 0.56, paint.colour((196, 202, 208)))
    paint.ellipse(x, 0.28, 0.12, 0.1, paint.colour((172, 62, 54)))
    paint.ground(0.64, 1, (142, 186, 86))
    post = paint.colour((236, 226, 206))
    for index in range(9):
        x = index / 8
        paint.rectangle(x - 0.012, 0.56, x + 0.012, 0.7, post)
    for y in (0.59, 0.64):
        paint.rectangle(0, y, 1, y + 0.018, post)
    _tufts(paint, 0.72, (104, 150, 60), 14)


def _lake(paint: Painter) -> None:
    pick = paint.generator
    paint.sky(0.48)
    paint.hills(0.48, 0.16, paint.colour((98, 146, 122)))
    paint.hills(0.51, 0.05, paint.colour((84, 138, 84)))
    paint.ramp(0.5, 0.8, paint.colour((88, 164, 196)), paint.colour((58, 122, 168)))
    for _ in range(12):
        x, y = pick.random(), pick.uniform(0.53, 0.76)
        paint.line([(x, y), (x + pick.uniform(0.04, 0.12), y)], paint.colour((146, 204, 222)))
    paint.hills(0.81, 0.035, paint.colour((112, 168, 84)))
    paint.ground(0.81, 1, (116, 172, 84))
    for _ in range(12):
        x = pick.choice([pick.uniform(0, 0.14), pick.uniform(0.86, 1)])
        tip = x + pick.uniform(-0.02, 0.02)
        paint.line([(x, 0.84), (tip, pick.uniform(0.62, 0.74))], paint.colour((72, 128, 62)), 0.01)
    _tufts(paint, 0.84, (80, 132, 58), 10)


_PAINTED_BY: dict[str, Callable[[Painter], None]] = {
    "park": _park,
    "beach": _beach,
    "street": _street,
    "forest": _forest,
    "desert": _desert,
    "mountains": _mountains,
    "snow": _snow,
    "kitchen": paint_kitchen,
    "living room": paint_living_room,
    "bedroom": paint_bedroom,
    "classroom": paint_classroom,
    "stage": paint_stage,
    "sky": _sky,
    "sea": _sea,
    "farm": _farm,
    "lake": _lake,
    "table": paint_table,
}


def paint_background(
    place: str, time: Time, weather: Weather, generator: random.Random, size: int
) -> Image.Image:
    """The empty place as an RGB picture of `size` pixels, edges smoothed.

    Raises:
        KeyError: No such place.
    """
    paint = Painter(size * _OVERSAMPLING, time, weather, generator)
    _PAINTED_BY[PLACES[place].name](paint)
    return paint.canvas.reduce(_OVERSAMPLING)
