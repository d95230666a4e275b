"""The words of the built-in domain and what each of them claims.

The grammar writes captions with these tables and the checker reads them, so that a phrase means
the same to both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Literal

from scenes.kinds import COLOURS, KINDS
from scenes.places import PLACES
from scenes.scene import RelationName, Scene, Time, Weather

MAX_GROUPS = 4
# Words and commas together; keeps every caption within the captioner's 32 tokens.
MAX_TOKENS = 24

NUMBERS = {"two": 2, "three": 3, "four": 4}
SIZES = ("small", "large")

# What introduces a picture, and what introduces a thing in it.
MEDIUM_PREFACES = ("a drawing of", "an illustration of", "a picture of")
THERE_PREFACES = {"one": "there is", "many": "there are"}
COPULAS = {"one": "is", "many": "are"}

# Kinds whose name alone cannot be counted.
COUNTABLE_NAMES = {
    "scissors": ("pair of scissors", "pairs of scissors"),
    "broccoli": ("piece of broccoli", "pieces of broccoli"),
    "candy": ("piece of candy", "pieces of candy"),
}


@dataclass(frozen=True)
class RelationPhrase:
    """Words between two things; `swapped` when the second stands in that relation to the first."""

    words: str
    name: RelationName
    swapped: bool = False


RELATION_PHRASES = (
    RelationPhrase("to the left of", "left of"),
    RelationPhrase("to the right of", "right of"),
    RelationPhrase("above", "above"),
    RelationPhrase("below", "above", swapped=True),
    RelationPhrase("in front of", "in front of"),
    RelationPhrase("behind", "in front of", swapped=True),
    RelationPhrase("next to", "next to"),
    RelationPhrase("beside", "next to"),
)
# If one thing is so to another, the other is thus to the one.
CONVERSES: dict[RelationName, RelationName] = {
    "left of": "right of",
    "right of": "left of",
    "next to": "next to",
}


@dataclass(frozen=True)
class SettingPhrase:
    """Words about the whole scene and what they claim: places it may be, time, weather."""

    words: str
    places: frozenset[str] = frozenset()
    time: Time | None = None
    weather: Weather | None = None


PLACE_PHRASES = tuple(
    SettingPhrase(place.phrase, frozenset({name})) for name, place in PLACES.items()
)
AIR_PHRASES = (
    SettingPhrase("during the day", time="day"),
    SettingPhrase("at night", time="night"),
    SettingPhrase("at dawn", time="dawn"),
    SettingPhrase("at sunset", time="sunset"),
    SettingPhrase("in the rain", weather="rain"),
    SettingPhrase("in the falling snow", weather="snow"),
    SettingPhrase("in the fog", weather="fog"),
    SettingPhrase("on a sunny day", time="day", weather="clear"),
    SettingPhrase("on a rainy day", time="day", weather="rain"),
    SettingPhrase("on a snowy day", time="day", weather="snow"),
    SettingPhrase("on a foggy day", time="day", weather="fog"),
    SettingPhrase("on a clear night", time="night", weather="clear"),
    SettingPhrase("on a rainy night", time="night", weather="rain"),
    SettingPhrase("on a snowy night", time="night", weather="snow"),
    SettingPhrase("on a foggy night", time="night", weather="fog"),
)

Number = Literal["one", "many"]


@cache
def kind_forms() -> dict[str, tuple[str, str]]:
    """Singular and plural as captions write them, by kind, in the order of `kinds.json`."""
    return {kind.name: COUNTABLE_NAMES.get(kind.name, (kind.name, kind.plural)) for kind in KINDS}


def article(next_word: str) -> str:
    """`a` or `an`, by the sound that follows."""
    return "an" if next_word[0] in "aeiou" and not next_word.startswith("uni") else "a"


def tokens_of(caption: str) -> list[str] | None:
    """Words and commas of a caption, or None where it is not spaced as captions are."""
    tokens = re.findall(r"[a-z][a-z'-]*|,", caption)
    return tokens if join_tokens(tokens) == caption else None


def join_tokens(tokens: list[str]) -> str:
    """The caption of these words and commas."""
    return " ".join(tokens).replace(" ,", ",")


def vocabulary() -> set[str]:
    """Every word that a caption can contain."""
    phrases = [*NUMBERS, *SIZES, *COLOURS, *MEDIUM_PREFACES, *THERE_PREFACES.values()]
    phrases += [*COPULAS.values(), "a", "an", "some", "and", "with"]
    phrases += [phrase.words for phrase in (*RELATION_PHRASES, *PLACE_PHRASES, *AIR_PHRASES)]
    phrases += [form for forms in kind_forms().values() for form in forms]
    return {word for phrase in phrases for word in phrase.split()}


def shows_weather(place: str) -> bool:
    """Whether a viewer could tell the weather there, so that words about it can be true."""
    return PLACES[place].weathers != ("clear",)


def shows_time(place: str) -> bool:
    """Whether a viewer could tell the time of day there."""
    return PLACES[place].tells_time


def true_relations(scene: Scene) -> set[tuple[int, RelationName, int]]:
    """The scene's relations with those that follow from them: the mirrored and the mutual."""
    facts: set[tuple[int, RelationName, int]] = set()
    for relation in scene.relations:
        facts.add((relation.subject, relation.name, relation.object))
        converse = CONVERSES.get(relation.name)
        if converse is not None:
            facts.add((relation.object, converse, relation.subject))
    return facts
