"""The scene graph: what is where in a picture, before any pixel or word exists.

The composer draws it, the grammar describes it and the checker judges captions against it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Size = Literal["small", "medium", "large"]
Time = Literal["day", "night", "dawn", "sunset"]
Weather = Literal["clear", "rain", "snow", "fog"]
RelationName = Literal["left of", "right of", "above", "in front of", "next to"]


@dataclass(frozen=True)
class Group:
    """One kind of thing in the scene, once or several times.

    Attributes:
        kind: Name from `kinds.json`.
        count: How many of it are drawn, 1-4.
        size: How large each is drawn relative to the picture.
        colour: The hue it was recoloured to, or None where it keeps its own colours.
        boxes: One (left, top, right, bottom) per thing, in shares of the picture's sides, 0-1.
        hidden: Share of the group covered by things in front of it, 0-1.
    """

    kind: str
    count: int
    size: Size
    colour: str | None
    boxes: tuple[tuple[float, float, float, float], ...]
    hidden: float = 0.0


@dataclass(frozen=True)
class Relation:
    """`subject` stands in this relation to `object`; both are indices into `Scene.groups`."""

    subject: int
    name: RelationName
    object: int


@dataclass(frozen=True)
class Scene:
    """Everything a caption may truthfully say about one picture.

    Attributes:
        seed: Drives every random choice in drawing it, so that one scene is one picture.
        place: Name of the background, a key of `places.PLACES`.
        time: Time of day.
        weather: Weather; indoor places are always "clear".
        groups: 1-4 kinds, drawn back to front.
        relations: Every relation that a viewer would agree with (both directions of left/right).
    """

    seed: int
    place: str
    time: Time
    weather: Weather
    groups: tuple[Group, ...]
    relations: tuple[Relation, ...]


def generator_for(*parts: int | str) -> random.Random:
    """A generator that depends on nothing but its parts, the same on every machine."""
    return random.Random("/".join(str(part) for part in parts))
