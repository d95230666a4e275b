"""The 200 kinds of things a scene may hold, in the order of their class indices."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    Attributes:
        name: Singular, as captions say it ("cup of coffee").
        plural: The same for two or more ("cups of coffee").
        category: animal, vehicle, food, plant, building or object.
        icon: Name of its icon in every icon set the sprites come from.
    """

    name: str
    plural: str
    category: str
    icon: str


def _load() -> list[Kind]:
    rows = json.loads((Path(__file__).parent / "kinds.json").read_text("utf-8"))
    return [Kind(row["kind"], row["plural"], row["category"], row["icon"]) for row in rows]


KINDS: list[Kind] = _load()
"""Every kind; the position in this list is its class index."""

INDEX_BY_NAME: dict[str, int] = {kind.name: index for index, kind in enumerate(KINDS)}
"""Class index of each singular name."""

KIND_BY_NAME: dict[str, Kind] = {kind.name: kind for kind in KINDS}
"""Kind of each singular name."""

BACKGROUND: int = len(KINDS)
"""Class index that means "nothing here"."""

# Only kinds with a clear main hue in every art style: recolouring any other would be a guess.
RECOLOURABLE: frozenset[str] = frozenset(
    {
        *("car", "bicycle", "motorcycle", "scooter", "racing car", "helicopter", "bird"),
        *("kick scooter", "butterfly", "fish", "tulip", "rose", "hibiscus", "tent", "umbrella"),
        *("chair", "alarm clock", "book", "balloon", "gift", "drum", "backpack", "telephone"),
        *("bucket", "boot", "t-shirt", "dress", "teapot", "magnet", "toothbrush", "guitar"),
        *("lollipop",),
    }
)
"""Kinds that are always drawn in one of `COLOURS`; all others keep their own colours."""

COLOURS: tuple[str, ...] = ("red", "yellow", "green", "blue", "purple", "pink")
"""Every colour a thing may be recoloured to."""
