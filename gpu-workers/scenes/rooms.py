"""Paints the indoor places: walls, floors and windows that show the time of day."""

from __future__ import annotations

from scenes.painter import Colour, Painter, blend, sky_colours
from scenes.scene import Time


def _window(paint: Painter, x: float, y: float, width: float, height: float) -> None:
    """Shows the time of day from inside a room."""
    top, bottom = sky_colours(paint.time, "clear")
    frame = paint.colour((250, 248, 242))
    paint.rectangle(x - 0.015, y - 0.015, x + width + 0.015, y + height + 0.015, frame)
    for step in range(6):
        fill = blend(top, bottom, step / 5)
        paint.rectangle(x, y + height * step / 6, x + width, y + height * (step + 1) / 6, fill)
    sun_y = y + height * (0.3 if paint.time in ("day", "night") else 0.8)
    glow: dict[Time, Colour] = {
        "day": (255, 236, 130),
        "night": (246, 240, 206),
        "dawn": (255, 246, 204),
        "sunset": (255, 204, 96),
    }
    paint.ellipse(x + width * 0.72, sun_y, 0.05, 0.05, glow[paint.time])
    if paint.time == "night":
        paint.ellipse(
            x + width * 0.72 + 0.015, sun_y - 0.009, 0.042, 0.042, blend(top, bottom, 0.3)
        )
    paint.rectangle(x + width / 2 - 0.006, y, x + width / 2 + 0.006, y + height, frame)
    paint.rectangle(x, y + height / 2 - 0.006, x + width, y + height / 2 + 0.006, frame)


def _floor(paint: Painter, top: float, colour: Colour) -> None:
    """Wooden boards running towards the viewer."""
    paint.ground(top, 1, colour)
    line = paint.colour(blend(colour, (0, 0, 0), 0.2))
    for index in range(-4, 15):
        x = index / 10
        paint.line([(0.5 + (x - 0.5) * 0.7, top), (0.5 + (x - 0.5) * 1.5, 1.0)], line)


def paint_kitchen(paint: Painter) -> None:
    """Tiles, cabinets and a chequered floor."""
    pick = paint.generator
    paint.ground(0, 0.64, pick.choice([(232, 238, 226), (222, 236, 240), (246, 236, 214)]))
    grout = paint.colour((204, 210, 206))
    for index in range(1, 12):
        paint.line([(index / 12, 0), (index / 12, 0.42)], grout, 0.004)
    for index in range(1, 6):
        paint.line([(0, index / 12), (1, index / 12)], grout, 0.004)
    wood = pick.choice([(122, 158, 148), (190, 140, 96), (236, 232, 224), (110, 138, 176)])
    for left, right in ((0.0, 0.3), (0.7, 1.0)):
        paint.rectangle(left, 0, right, 0.17, paint.colour(wood))
        middle = (left + right) / 2
        paint.line([(middle, 0), (middle, 0.17)], paint.colour(blend(wood, (0, 0, 0), 0.3)))
    _window(paint, 0.38, 0.08, 0.24, 0.22)
    paint.rectangle(0, 0.41, 1, 0.445, paint.colour((214, 206, 196)))
    paint.rectangle(0, 0.445, 1, 0.66, paint.colour(wood))
    for index in range(5):
        x = index / 4
        paint.line([(x, 0.445), (x, 0.66)], paint.colour(blend(wood, (0, 0, 0), 0.3)))
        paint.rectangle(x + 0.1, 0.475, x + 0.15, 0.485, paint.colour((236, 236, 232)))
    light, dark = paint.colour((238, 234, 224)), paint.colour((196, 196, 192))
    paint.rectangle(0, 0.66, 1, 1, light)
    edges = [0.66, 0.72, 0.8, 0.9, 1.02]
    for row in range(4):
        top, bottom = edges[row], edges[row + 1]
        wide, wider = 0.6 + row * 0.28, 0.88 + row * 0.28
        for column in range(row % 2, 12, 2):
            a, b = column / 12 - 0.5, (column + 1) / 12 - 0.5
            corners = [(0.5 + a * (1 + wide), top), (0.5 + b * (1 + wide), top)]
            corners += [(0.5 + b * (1 + wider), bottom), (0.5 + a * (1 + wider), bottom)]
            paint.polygon(corners, dark)


def paint_living_room(paint: Painter) -> None:
    """A sofa, a picture and a rug."""
    pick = paint.generator
    wall = pick.choice([(236, 222, 190), (206, 222, 204), (222, 206, 214), (204, 216, 232)])
    paint.ground(0, 0.67, wall)
    stripe = paint.colour(blend(wall, (255, 255, 255), 0.3))
    for index in range(9):
        paint.rectangle(index / 8 - 0.02, 0, index / 8 + 0.02, 0.62, stripe)
    _window(paint, 0.12 + pick.uniform(-0.04, 0.04), 0.1, 0.26, 0.26)
    x = pick.uniform(0.56, 0.66)
    paint.rectangle(x, 0.12, x + 0.26, 0.32, paint.colour((132, 92, 58)))
    paint.rectangle(x + 0.02, 0.14, x + 0.24, 0.3, paint.colour((196, 214, 206)))
    paint.polygon(
        [(x + 0.02, 0.3), (x + 0.1, 0.2), (x + 0.16, 0.26), (x + 0.2, 0.23), (x + 0.24, 0.3)],
        paint.colour((112, 150, 128)),
    )
    sofa = pick.choice([(150, 96, 90), (94, 122, 140), (132, 138, 96)])
    paint.rectangle(0.18, 0.44, 0.82, 0.64, paint.colour(sofa))
    paint.rectangle(0.12, 0.52, 0.2, 0.7, paint.colour(blend(sofa, (0, 0, 0), 0.18)))
    paint.rectangle(0.8, 0.52, 0.88, 0.7, paint.colour(blend(sofa, (0, 0, 0), 0.18)))
    _floor(paint, 0.66, (176, 124, 78))
    paint.rectangle(0.2, 0.57, 0.8, 0.69, paint.colour(blend(sofa, (255, 255, 255), 0.14)))
    paint.line([(0.5, 0.57), (0.5, 0.69)], paint.colour(blend(sofa, (0, 0, 0), 0.25)))
    rug = pick.choice([(190, 84, 84), (92, 116, 170), (208, 176, 112)])
    paint.ellipse(0.5, 0.88, 0.86, 0.2, paint.colour(rug))
    paint.ellipse(0.5, 0.88, 0.7, 0.15, paint.colour(blend(rug, (255, 255, 255), 0.25)))


def paint_bedroom(paint: Painter) -> None:
    """Dotted wallpaper, curtains, a wardrobe and a carpet."""
    pick = paint.generator
    wall = pick.choice([(216, 204, 236), (250, 214, 218), (200, 222, 242), (206, 232, 218)])
    paint.ground(0, 0.66, wall)
    dot = paint.colour(blend(wall, (255, 255, 255), 0.45))
    for row in range(7):
        for column in range(9):
            x = column / 8 + (row % 2) / 16
            paint.ellipse(x, 0.05 + row * 0.09, 0.028, 0.028, dot)
    x = pick.uniform(0.32, 0.42)
    _window(paint, x, 0.1, 0.26, 0.28)
    cloth = paint.colour(pick.choice([(246, 168, 150), (140, 170, 214), (236, 206, 130)]))
    for left, sway in ((x - 0.1, 0.03), (x + 0.28, -0.03)):
        paint.polygon(
            [(left, 0.06), (left + 0.08, 0.06), (left + 0.08 + sway, 0.46), (left, 0.46)], cloth
        )
    paint.rectangle(x - 0.13, 0.05, x + 0.39, 0.07, paint.colour((150, 112, 80)))
    paint.rectangle(0.8, 0.2, 1, 0.68, paint.colour((186, 146, 110)))
    paint.line([(0.9, 0.22), (0.9, 0.66)], paint.colour((138, 102, 72)))
    paint.rectangle(0, 0.655, 1, 0.675, paint.colour((248, 244, 238)))
    carpet = pick.choice([(186, 170, 200), (204, 186, 166), (164, 184, 196)])
    paint.ground(0.675, 1, carpet)
    paint.specks(0.68, blend(carpet, (255, 255, 255), 0.3), 40, 0.01)


def paint_classroom(paint: Painter) -> None:
    """A blackboard with chalk marks."""
    pick = paint.generator
    paint.ground(0, 0.66, (244, 234, 204))
    paint.rectangle(0.28, 0.1, 0.96, 0.46, paint.colour((168, 120, 76)))
    paint.rectangle(0.3, 0.12, 0.94, 0.44, paint.colour((48, 96, 78)))
    chalk = paint.colour((222, 232, 224))
    for row in range(3):
        left = 0.36 + pick.uniform(0, 0.04)
        points = [
            (left + i * 0.022, 0.18 + row * 0.09 + (0.016 if i % 2 else 0)) for i in range(14)
        ]
        paint.line(points[: pick.randint(6, 14)], chalk)
    paint.rectangle(0.5, 0.455, 0.62, 0.475, chalk)
    _window(paint, 0.04, 0.12, 0.18, 0.28)
    paint.rectangle(0, 0.64, 1, 0.665, paint.colour((190, 150, 104)))
    _floor(paint, 0.665, (206, 168, 118))


def paint_stage(paint: Painter) -> None:
    """Curtains and spotlights; the same at all times."""
    pick = paint.generator
    paint.ramp(0, 0.7, (44, 22, 40), (94, 40, 62))
    for x in (0.3, 0.7):
        end = x + pick.uniform(-0.14, 0.14)
        beam = [(x - 0.02, 0), (x + 0.02, 0), (end + 0.2, 0.7), (end - 0.2, 0.7)]
        paint.polygon(beam, (126, 72, 84))
    _floor(paint, 0.68, (164, 108, 66))
    paint.ellipse(0.5, 0.84, 0.7, 0.2, (214, 160, 106))
    for index in range(4):
        for side in (index * 0.05, 1 - (index + 1) * 0.05):
            red = (176, 30, 44) if index % 2 else (144, 20, 36)
            paint.rectangle(side, 0, side + 0.05, 0.76, red)
    for index in range(8):
        paint.ellipse(index / 7, 0.02, 0.17, 0.2, (186, 36, 50) if index % 2 else (156, 24, 40))
    paint.rectangle(0, 0, 1, 0.02, (226, 182, 84))


def paint_table(paint: Painter) -> None:
    """A table top before a wall; the same at all times."""
    pick = paint.generator
    wall = pick.choice([(176, 206, 200), (214, 200, 224), (238, 216, 186), (190, 204, 228)])
    paint.ground(0, 0.4, wall)
    wood = pick.choice([(188, 132, 80), (150, 100, 64), (214, 170, 118)])
    paint.rectangle(0, 0.36, 1, 0.385, paint.colour(blend(wood, (255, 255, 255), 0.25)))
    paint.ground(0.385, 1, wood)
    grain = paint.colour(blend(wood, (0, 0, 0), 0.2))
    for y in (0.5, 0.64, 0.82):
        paint.line([(0, y), (1, y)], grain)
    for _ in range(12):
        x, y = pick.random(), pick.uniform(0.42, 0.98)
        paint.line(
            [(x, y), (x + pick.uniform(0.05, 0.16), y)], blend(grain, paint.colour(wood), 0.5)
        )
