"""Scenes for tests of the words: any graph that the types allow, drawable or not."""

import random

from scenes.kinds import COLOURS, KINDS, RECOLOURABLE
from scenes.places import PLACES
from scenes.scene import Group, Relation, RelationName, Scene, generator_for


def random_scene(seed: int) -> Scene:
    """A scene with 1-4 groups and relations read off its boxes."""
    rng = generator_for("test scene", seed)
    kinds = rng.sample([kind.name for kind in KINDS], rng.randint(1, 4))
    groups = tuple(_group(rng, kind) for kind in kinds)
    place = PLACES[rng.choice(list(PLACES))]
    return Scene(
        seed=seed,
        place=place.name,
        time=rng.choice(place.times),
        weather=rng.choice(place.weathers),
        groups=groups,
        relations=tuple(_relations(groups)),
    )


def _group(rng: random.Random, kind: str) -> Group:
    count = rng.choice([1, 1, 1, 2, 3, 4])
    left, top = rng.uniform(0, 0.7), rng.uniform(0, 0.7)
    return Group(
        kind=kind,
        count=count,
        size=rng.choice(["small", "medium", "large"]),
        colour=rng.choice(COLOURS) if kind in RECOLOURABLE else None,
        boxes=((left, top, left + 0.25, top + 0.25),) * count,
        hidden=rng.choice([0.0, 0.0, rng.random()]),
    )


def _relations(groups: tuple[Group, ...]) -> list[Relation]:
    found: list[Relation] = []
    for i, a in enumerate(groups):
        for j, b in enumerate(groups):
            across, down = b.boxes[0][0] - a.boxes[0][0], b.boxes[0][1] - a.boxes[0][1]
            holds: list[tuple[RelationName, bool]] = [
                ("left of", across > 0.2),
                ("right of", across < -0.2),
                ("above", down > 0.35),
                ("in front of", -0.3 < down < -0.1 and abs(across) < 0.15),
                ("next to", i < j and abs(down) < 0.1),
            ]
            found += [Relation(i, name, j) for name, so in holds if so and i != j]
    return found
