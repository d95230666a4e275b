"""Draws scene graphs at random: plausible, balanced over kinds, with relations anyone would see."""

from __future__ import annotations

import random
from functools import lru_cache

import numpy as np

from scenes.kinds import COLOURS, KINDS, RECOLOURABLE
from scenes.places import AIRBORNE, PLACES, WATERBORNE, Band, Place
from scenes.scene import Group, Relation, Scene, Size, Time, Weather, generator_for

Box = tuple[float, float, float, float]

_SIDES: dict[Size, Band] = {"small": (0.19, 0.23), "medium": (0.29, 0.35), "large": (0.44, 0.55)}
# Weight of what does not belong; balancing kinds and places raises it to one thing in twenty.
_SURPRISE = 0.021
_MAX_THINGS = 6
_EDGE = 0.015


@lru_cache(maxsize=1)
def _kinds_by_place() -> dict[str, list[float]]:
    """How likely each kind is at each place, such that every kind is equally frequent overall.

    Sinkhorn's scaling of the table of what belongs where: rows (kinds) sum to the same, columns
    (places) to the shares wanted.
    """
    places = list(PLACES.values())
    fits = np.array([[kind.name in place.kinds for place in places] for kind in KINDS], np.float64)
    shares = np.full(len(places), 1 / len(places))
    table = fits * (1 - _SURPRISE) / fits.sum() + _SURPRISE / fits.size
    for _ in range(200):
        table *= shares / table.sum(axis=0)
        table *= (1 / len(KINDS) / table.sum(axis=1))[:, None]
    return {place.name: table[:, index].tolist() for index, place in enumerate(places)}


def _choose_kinds(generator: random.Random, place: str, number: int) -> list[str]:
    weights = _kinds_by_place()[place]
    names: list[str] = []
    while len(names) < number:
        name = generator.choices(KINDS, weights)[0].name
        if name not in names:
            names.append(name)
    return names


def _choose_counts(generator: random.Random, groups: int) -> list[int]:
    counts: list[int] = []
    for index in range(groups):
        count = generator.choices((1, 2, 3, 4), (0.73, 0.13, 0.08, 0.06))[0]
        rest = _MAX_THINGS - sum(counts) - (groups - index - 1)
        counts.append(min(count, rest))
    return counts


def _choose_size(generator: random.Random, groups: int, count: int, things: int) -> Size:
    if count >= 3 or things >= 5:
        weights = (0.6, 0.4, 0.0)
    elif groups == 1 and count == 1:
        weights = (0.15, 0.4, 0.45)
    elif things <= 2:
        weights = (0.2, 0.55, 0.25)
    else:
        weights = (0.35, 0.6, 0.05)
    sizes: tuple[Size, ...] = ("small", "medium", "large")
    return generator.choices(sizes, weights)[0]


def _bottom_band(place: Place, kind: str, side: float) -> Band:
    """Where the lower edge of a thing's box may be."""
    if kind in WATERBORNE and place.water is not None:
        low, high = place.water
        return max(low, side + _EDGE), max(high, side + _EDGE)
    floats = kind in AIRBORNE or place.ground is None
    if floats and place.air is not None:
        low, high = place.air
        return max(low + side / 2, side + _EDGE), max(high + side / 2, side + _EDGE)
    if kind in AIRBORNE and place.water is not None:
        return place.water
    assert place.ground is not None
    return place.ground


def _cluster(
    generator: random.Random, count: int, side: float, band: Band, centre: float | None
) -> list[Box] | None:
    """Boxes of a group side by side, in two rows where four are many; None where it cannot fit."""
    # A second row of large things would stand in the sky.
    stacks = count == 4 and side < 0.25 and generator.random() < 0.5
    columns = 2 if stacks else count
    rows = (count + columns - 1) // columns
    step = side * generator.uniform(1.0, 1.15)
    width = side + step * (columns - 1)
    if width > 1 - 2 * _EDGE:
        return None
    free = 1 - 2 * _EDGE - width
    left = _EDGE + generator.random() * free
    if centre is not None:
        left = min(max(centre - width / 2, _EDGE), _EDGE + free)
    bottom = generator.uniform(*band)
    boxes: list[Box] = []
    for index in range(count):
        row, column = divmod(index, columns)
        x = left + column * step
        y = bottom - (rows - 1 - row) * side * 1.02
        y += generator.uniform(-0.02, 0.02) if count > 1 else 0.0
        y = min(max(y, side + _EDGE), 1 - _EDGE)
        boxes.append((x, y - side, x + side, y))
    return boxes


def _overlap(first: Box, second: Box) -> float:
    """Shared area as a share of the smaller box."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return width * height / min(areas)


def union_box(group: Group) -> Box:
    """The smallest box around all things of a group."""
    lefts, tops, rights, bottoms = zip(*group.boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _most_overlap(boxes: list[Box], others: list[Box]) -> float:
    return max((_overlap(box, other) for box in boxes for other in others), default=0.0)


def _place_group(
    generator: random.Random, place: Place, kind: str, count: int, size: Size, placed: list[Group]
) -> Group | None:
    """Finds room for a group; sometimes, on purpose, partly in front of or behind another."""
    colour = generator.choice(COLOURS) if kind in RECOLOURABLE else None
    others = [box for group in placed for box in group.boxes]
    overlapping = count == 1 and len(others) == 1 and generator.random() < 0.4
    for attempt in range(60):
        if attempt == 30 and size != "small":
            size = "small"
        side = generator.uniform(*_SIDES[size])
        centre = None
        if overlapping and attempt < 20:
            other = generator.choice(others)
            middle = (other[0] + other[2]) / 2
            reach = (side + other[2] - other[0]) / 2 * generator.uniform(0.5, 0.75)
            centre = middle + generator.choice((-1, 1)) * reach
        boxes = _cluster(generator, count, side, _bottom_band(place, kind, side), centre)
        if boxes is None:
            continue
        overlap = _most_overlap(boxes, others)
        wanted = 0.12 <= overlap <= 0.4 if centre is not None else overlap <= 0.04
        if wanted:
            return Group(kind, count, size, colour, tuple(boxes))
    return None


def _hidden(group: Group, front: list[Group], cells: int = 48) -> float:
    """Share of a group's boxes that boxes of later groups cover."""
    own = np.zeros((cells, cells), bool)
    covered = np.zeros((cells, cells), bool)
    for target, groups in ((own, [group]), (covered, front)):
        for each in groups:
            for left, top, right, bottom in each.boxes:
                rows = slice(round(top * cells), round(bottom * cells))
                target[rows, round(left * cells) : round(right * cells)] = True
    return float((own & covered).sum() / max(own.sum(), 1))


def relations_between(groups: tuple[Group, ...]) -> tuple[Relation, ...]:
    """Every relation that holds clearly, from the boxes alone; groups are ordered back to front."""
    found: list[Relation] = []
    for i, first in enumerate(groups):
        for j, second in enumerate(groups):
            if i == j:
                continue
            a, b = union_box(first), union_box(second)
            dx = (b[0] + b[2] - a[0] - a[2]) / 2
            dy = (b[1] + b[3] - a[1] - a[3]) / 2
            shared_x = min(a[2], b[2]) - max(a[0], b[0])
            shared_y = min(a[3], b[3]) - max(a[1], b[1])
            narrow = min(a[2] - a[0], b[2] - b[0])
            overlap = _most_overlap(list(first.boxes), list(second.boxes))
            stacked = dy > 0.18 and shared_x > 0.3 * narrow and shared_y < 0.04
            if dx > 0.18 and shared_x < 0.4 * narrow:
                found.append(Relation(i, "left of", j))
            if dx < -0.18 and shared_x < 0.4 * narrow:
                found.append(Relation(i, "right of", j))
            if stacked:
                found.append(Relation(i, "above", j))
            if i > j and overlap >= 0.1 and a[3] - b[3] > 0.015:
                found.append(Relation(i, "in front of", j))
            if overlap < 0.1 and -0.12 < shared_x < 0.04 and abs(a[3] - b[3]) < 0.1:
                found.append(Relation(i, "next to", j))
    return tuple(found)


def _choose_weather(generator: random.Random, place: Place) -> Weather:
    weights: dict[Weather, float] = {"clear": 0.64, "rain": 0.14, "snow": 0.11, "fog": 0.11}
    return generator.choices(place.weathers, [weights[each] for each in place.weathers])[0]


def _choose_time(generator: random.Random, place: Place) -> Time:
    weights: dict[Time, float] = {"day": 0.46, "night": 0.26, "dawn": 0.12, "sunset": 0.16}
    return generator.choices(place.times, [weights[each] for each in place.times])[0]


def sample_scene(seed: int) -> Scene:
    """The scene that belongs to a seed, the same on every machine.

    Kinds are about equally frequent over many seeds; about one in twenty is out of place.
    """
    generator = generator_for("scene", seed)
    place = generator.choice(list(PLACES.values()))
    time, weather = _choose_time(generator, place), _choose_weather(generator, place)
    number = generator.choices((1, 2, 3, 4), (0.3, 0.4, 0.2, 0.1))[0]
    kinds = _choose_kinds(generator, place.name, number)
    counts = _choose_counts(generator, number)
    things = sum(counts)
    placed: list[Group] = []
    for kind, count in zip(kinds, counts, strict=True):
        size = _choose_size(generator, number, count, things)
        group = _place_group(generator, place, kind, count, size, placed)
        if group is not None:
            placed.append(group)
    placed.sort(key=lambda group: union_box(group)[3])
    groups = tuple(
        Group(g.kind, g.count, g.size, g.colour, g.boxes, _hidden(g, placed[index + 1 :]))
        for index, g in enumerate(placed)
    )
    return Scene(seed, place.name, time, weather, groups, relations_between(groups))
