"""Judges a caption against the scene it should describe, fact by fact and exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from scenes.kinds import COLOURS
from scenes.lexicon import NUMBERS, SIZES, shows_time, shows_weather, true_relations
from scenes.parser import Mention, Parsed, kinds_named, parse
from scenes.scene import Group, Scene

__all__ = ["Check", "Fact", "FactType", "Parsed", "Shares", "check", "parse", "repeats", "shares"]

FactType = Literal["kind", "count", "colour", "size", "relation", "place", "time", "weather"]

# Words that two different things may share.
_NOT_CONTENT = frozenset(
    ", a an the some and with of on in at to is are there left right front next".split()
) | {*NUMBERS, *SIZES, *COLOURS}


@dataclass(frozen=True)
class Fact:
    """One claim of a caption, in its words, and whether it holds."""

    type: FactType
    right: bool
    text: str


@dataclass(frozen=True)
class Check:
    """A caption held against its scene; one that is not grammatical claims nothing.

    Attributes:
        parsed: What it says; None where the grammar has no such sentence.
        facts: Every claim in it. Count, colour and size of a kind that is not there are no claims
            of their own: the kind is the mistake. Naming a kind again is a wrong claim.
        wrong_kinds: Kinds named that the scene does not have.
        left_out: Kinds that it does not name, and "place", "time", "weather" where it is silent.
        repetition: Whether a kind or a pair of neighbouring content words comes twice.
    """

    parsed: Parsed | None
    facts: tuple[Fact, ...]
    wrong_kinds: tuple[str, ...]
    left_out: tuple[str, ...]
    repetition: bool

    @property
    def grammatical(self) -> bool:
        """Whether the grammar has such a sentence."""
        return self.parsed is not None

    @property
    def n_right(self) -> int:
        """Claims that hold."""
        return sum(fact.right for fact in self.facts)

    @property
    def n_wrong(self) -> int:
        """Claims that do not hold."""
        return len(self.facts) - self.n_right

    @property
    def clean(self) -> bool:
        """Grammatical and nothing false in it."""
        return self.grammatical and self.n_wrong == 0


@dataclass(frozen=True)
class Shares:
    """Shares over many captions.

    Attributes:
        captions: How many there were.
        grammatical: Of all captions.
        clean: Captions that are grammatical and say nothing false, of all captions.
        facts_wrong: Claims that are false, of all claims made (in grammatical captions).
        facts_wrong_by_type: The same for each type of claim that was made.
        kinds_left_out: Groups of things not named, of all groups in the scenes of grammatical
            captions.
        hallucinated: Captions that name a kind that is not there, of all captions.
        repetition: Captions that say a thing twice, of all captions.
    """

    captions: int
    grammatical: float
    clean: float
    facts_wrong: float
    facts_wrong_by_type: dict[FactType, float]
    kinds_left_out: float
    hallucinated: float
    repetition: float


def check(caption: str, scene: Scene) -> Check:
    """Every claim of the caption, judged; a thing mostly hidden still counts as there."""
    parsed = parse(caption)
    if parsed is None:
        return Check(None, (), (), (), repeats(caption))
    by_kind = {group.kind: index for index, group in enumerate(scene.groups)}
    facts: list[Fact] = []
    # Group meant by each mention; None where the scene has none such (left).
    meant: list[int | None] = []
    for mention in parsed.mentions:
        index = by_kind.get(mention.kind)
        if index in meant:
            index = None
        meant.append(index)
        facts.append(Fact("kind", index is not None, mention.kind))
        if index is not None:
            facts += _attribute_facts(mention, scene.groups[index])
    relations = true_relations(scene)
    for claim in parsed.relations:
        subject, other = meant[claim.subject], meant[claim.object]
        right = (
            subject is not None and other is not None and (subject, claim.name, other) in relations
        )
        facts.append(Fact("relation", right, claim.words))
    facts += _setting_facts(parsed, scene)
    return Check(
        parsed=parsed,
        facts=tuple(facts),
        wrong_kinds=tuple(m.kind for m in parsed.mentions if m.kind not in by_kind),
        left_out=_left_out(parsed, scene),
        repetition=repeats(caption),
    )


def _attribute_facts(mention: Mention, group: Group) -> list[Fact]:
    counted = group.count == mention.count if mention.count is not None else group.count >= 2
    facts = [Fact("count", counted, mention.words)]
    if mention.colour is not None:
        facts.append(Fact("colour", mention.colour == group.colour, mention.words))
    if mention.size is not None:
        facts.append(Fact("size", mention.size == group.size, mention.words))
    return facts


def _setting_facts(parsed: Parsed, scene: Scene) -> list[Fact]:
    facts: list[Fact] = []
    for phrase in parsed.settings:
        if phrase.places:
            facts.append(Fact("place", scene.place in phrase.places, phrase.words))
        if phrase.time is not None:
            seen = shows_time(scene.place)
            facts.append(Fact("time", seen and phrase.time == scene.time, phrase.words))
        if phrase.weather is not None:
            seen = shows_weather(scene.place)
            facts.append(Fact("weather", seen and phrase.weather == scene.weather, phrase.words))
    return facts


def _left_out(parsed: Parsed, scene: Scene) -> tuple[str, ...]:
    named = {mention.kind for mention in parsed.mentions}
    left_out = [group.kind for group in scene.groups if group.kind not in named]
    if not any(phrase.places for phrase in parsed.settings):
        left_out.append("place")
    if shows_time(scene.place) and not any(phrase.time for phrase in parsed.settings):
        left_out.append("time")
    if shows_weather(scene.place) and not any(phrase.weather for phrase in parsed.settings):
        left_out.append("weather")
    return tuple(left_out)


def repeats(caption: str) -> bool:
    """Whether a kind, or a pair of neighbouring content words, comes twice; grammatical or not."""
    words = [word for word in caption.replace(",", " , ").split() if word]
    kinds = Counter(kinds_named(words))
    pairs = Counter(pair for pair in pairwise(words) if not _NOT_CONTENT.intersection(pair))
    return any(times > 1 for times in (*kinds.values(), *pairs.values()))


def shares(checks: list[Check], scenes: list[Scene]) -> Shares:
    """What part of many captions is right, wrong and left out; `checks` and `scenes` go together.

    Raises:
        ValueError: There is nothing to take shares of, or the two differ in length.
    """
    if not checks or len(checks) != len(scenes):
        raise ValueError(f"expected as many checks as scenes, got {len(checks)}, {len(scenes)}")
    facts = [fact for each in checks for fact in each.facts]
    read = [(each, scene) for each, scene in zip(checks, scenes, strict=True) if each.grammatical]
    groups = sum(len(scene.groups) for _, scene in read)
    left_out = sum(group.kind in each.left_out for each, scene in read for group in scene.groups)
    return Shares(
        captions=len(checks),
        grammatical=_mean([each.grammatical for each in checks]),
        clean=_mean([each.clean for each in checks]),
        facts_wrong=_mean([not fact.right for fact in facts]),
        facts_wrong_by_type=_wrong_by_type(facts),
        kinds_left_out=left_out / groups if groups else 0.0,
        hallucinated=_mean([bool(each.wrong_kinds) for each in checks]),
        repetition=_mean([each.repetition for each in checks]),
    )


def _wrong_by_type(facts: list[Fact]) -> dict[FactType, float]:
    by_type: dict[FactType, list[bool]] = {}
    for fact in facts:
        by_type.setdefault(fact.type, []).append(not fact.right)
    return {type_: _mean(wrong) for type_, wrong in by_type.items()}


def _mean(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 0.0
