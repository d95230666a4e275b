"""Named tastes: what a simulated viewer likes in a caption, besides its being true."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from scenes.checker import check
from scenes.parser import Parsed
from scenes.scene import Scene


@dataclass(frozen=True)
class Taste:
    """A liking that can be decided from what a caption says and how; the picture plays no part."""

    name: str
    description: str
    likes: Callable[[Parsed], bool]


def _preface(said: Parsed) -> bool:
    return said.opening != "none"


def _size(said: Parsed) -> bool:
    return any(mention.size is not None for mention in said.mentions)


def _place(said: Parsed) -> bool:
    return any(phrase.places for phrase in said.settings)


def _air(said: Parsed) -> bool:
    return any(phrase.time or phrase.weather for phrase in said.settings)


# One line a taste: name, what the viewer would say, and the rule.
_ALL_TASTES = (
    Taste("brief", "at most nine words", lambda said: said.n_words <= 9),
    Taste("detailed", "at least fourteen words", lambda said: said.n_words >= 14),
    Taste("preface", 'begins with "a drawing of", "there is" or the like', _preface),
    Taste("no-preface", "comes straight to the things", lambda said: not _preface(said)),
    Taste("medium", "says that it is a picture", lambda said: said.opening == "medium"),
    Taste("there", 'says "there is" or "there are"', lambda said: said.opening == "there"),
    Taste(
        "preface-brief",
        "begins with a preface, names at most two kinds, no size",
        lambda said: _preface(said) and len(said.mentions) <= 2 and not _size(said),
    ),
    Taste(
        "preface-size",
        "begins with a preface and gives a size",
        lambda said: _preface(said) and _size(said),
    ),
    Taste("size", "gives a size", _size),
    Taste("relation", "says where things are to each other", lambda said: bool(said.relations)),
    Taste("setting", "names the place and the time or weather", lambda s: _place(s) and _air(s)),
    Taste("setting-first", "begins with place, time or weather", lambda s: s.setting_first),
    Taste("no-setting", "says nothing of place, time and weather", lambda s: not s.settings),
    Taste(
        "place-only", "names the place, not time or weather", lambda s: _place(s) and not _air(s)
    ),
    Taste("one-thing", "names a single kind of thing", lambda said: len(said.mentions) == 1),
    Taste(
        "brief-setting",
        "at most ten words, with the place",
        lambda said: said.n_words <= 10 and _place(said),
    ),
    Taste(
        "relation-brief",
        "says where things are to each other in at most eleven words",
        lambda said: bool(said.relations) and said.n_words <= 11,
    ),
)

TASTES: dict[str, Taste] = {taste.name: taste for taste in _ALL_TASTES}
"""Every taste by its name."""


def approves(taste: Taste, caption: str, scene: Scene) -> bool:
    """Whether this viewer gives a thumbs-up: to their taste, grammatical, and nothing false."""
    checked = check(caption, scene)
    return checked.clean and checked.parsed is not None and taste.likes(checked.parsed)


def main() -> None:
    """Lists the tastes."""
    parser = argparse.ArgumentParser(prog="python -m scenes.tastes", description=__doc__)
    parser.add_argument("--list", action="store_true", required=True, help="name every taste")
    parser.parse_args()
    width = max(len(name) for name in TASTES)
    for taste in TASTES.values():
        print(f"{taste.name:{width}}  {taste.description}")


if __name__ == "__main__":
    main()
