"""Writes captions of a scene the way different people would: with more or less in them."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Literal

from scenes.lexicon import (
    AIR_PHRASES,
    COPULAS,
    MAX_TOKENS,
    MEDIUM_PREFACES,
    NUMBERS,
    PLACE_PHRASES,
    RELATION_PHRASES,
    SIZES,
    THERE_PREFACES,
    Number,
    RelationPhrase,
    SettingPhrase,
    article,
    join_tokens,
    kind_forms,
    shows_time,
    shows_weather,
    true_relations,
)
from scenes.scene import Group, Scene, generator_for

Opening = Literal["none", "medium", "there", "copula"]
_OPENINGS: tuple[Opening, ...] = ("none", "medium", "there", "copula")
# People frame a picture of one thing and go straight to the point where there is much to say.
_OPENING_WEIGHTS = {
    1: (0.3, 0.34, 0.26, 0.1),
    2: (0.4, 0.26, 0.22, 0.12),
    3: (0.5, 0.2, 0.18, 0.12),
    4: (0.56, 0.18, 0.14, 0.12),
}
_RELATION_CHANCE = 0.72
# Common relations would drown the others: left and right hold in nearly every picture.
_RELATION_WEIGHTS = {
    "left of": 1.0,
    "right of": 1.0,
    "above": 2.0,
    "in front of": 3.0,
    "next to": 0.8,
}
# Most people speak of the striking thing first and place the other one beside it.
_STRIKING_FIRST = 0.75


@dataclass
class _Sentence:
    """How a caption opens and where it says what about the whole scene."""

    opening: Opening
    front: list[SettingPhrase] = field(default_factory=list[SettingPhrase])
    end: list[SettingPhrase] = field(default_factory=list[SettingPhrase])


def human_captions(scene: Scene, n: int = 5) -> list[str]:
    """What `n` people write under the picture, differing wherever the scene allows it."""
    rng = generator_for("captions", scene.seed)
    captions: list[str] = []
    for _ in range(n):
        written = caption(scene, rng)
        for _ in range(4):
            if written not in captions:
                break
            written = caption(scene, rng)
        captions.append(written)
    return captions


def caption(scene: Scene, rng: random.Random, detail: float | None = None) -> str:
    """One caption of the scene, every word of it true.

    Args:
        scene: What to describe.
        rng: Source of every choice.
        detail: How much its writer likes to say, 0-1; None draws it.
    """
    detail = rng.uniform(0.1, 1.0) if detail is None else detail
    while True:
        tokens = _compose(scene, rng, detail)
        if len(tokens) <= MAX_TOKENS:
            return join_tokens(tokens)
        detail *= 0.8


def _compose(scene: Scene, rng: random.Random, detail: float) -> list[str]:
    named = _named_groups(scene, rng, detail)
    sentence = _Sentence(rng.choices(_OPENINGS, _OPENING_WEIGHTS[len(scene.groups)])[0])
    _arrange_setting(sentence, _setting(scene, rng, detail), scene, rng)
    clauses, order = _clauses(scene, named, rng, detail, sentence)
    first_number = _number_of(scene.groups[order[0]])

    tokens: list[str] = []
    if sentence.front:
        tokens += [*_words(sentence.front), ","]
    if sentence.opening == "medium":
        tokens += rng.choice(MEDIUM_PREFACES).split()
    elif sentence.opening == "there":
        tokens += THERE_PREFACES[first_number].split()
    return tokens + clauses + _words(sentence.end)


def _number_of(group: Group) -> Number:
    return "one" if group.count == 1 else "many"


def _words(phrases: list[SettingPhrase]) -> list[str]:
    return [word for phrase in phrases for word in phrase.words.split()]


def _named_groups(scene: Scene, rng: random.Random, detail: float) -> list[int]:
    """Indices of the groups that this writer mentions, the most striking roughly first."""

    def area(group: Group) -> float:
        return sum((right - left) * (bottom - top) for left, top, right, bottom in group.boxes)

    weights = [
        (area(group) * (1.05 - group.hidden) + 1e-4) * rng.lognormvariate(0, 0.5)
        for group in scene.groups
    ]
    order = sorted(range(len(weights)), key=lambda index: -weights[index])
    kept = order[:1]
    for index in order[1:]:
        leave_out = 0.28 * (1 - detail) + 0.4 * scene.groups[index].hidden
        if rng.random() >= leave_out:
            kept.append(index)
    return kept


def _noun_phrase(group: Group, rng: random.Random, detail: float) -> list[str]:
    singular, plural = kind_forms()[group.kind]
    words: list[str] = []
    if group.size in SIZES and rng.random() < 0.1 + 0.5 * detail:
        words.append(group.size)
    if group.colour is not None and rng.random() < 0.35 + 0.6 * detail:
        words.append(group.colour)
    words += (singular if group.count == 1 else plural).split()
    if group.count == 1:
        return [article(words[0]), *words]
    if rng.random() < 0.6 + 0.35 * detail:
        number = next(word for word, count in NUMBERS.items() if count == group.count)
        return [number, *words]
    return ["some", *words] if rng.random() < 0.5 else words


def _list(phrases: list[list[str]]) -> list[str]:
    """`a dog`, `a dog and a cat`, `a dog, a cat and a tree`."""
    words = list(phrases[0])
    for phrase in phrases[1:-1]:
        words += [",", *phrase]
    return [*words, "and", *phrases[-1]] if len(phrases) > 1 else words


@dataclass(frozen=True)
class _Link:
    """One way to relate a named thing to one or two others in words that are true."""

    phrase: RelationPhrase
    subject: int
    objects: tuple[int, ...]


def _links(scene: Scene, named: list[int]) -> list[_Link]:
    facts = true_relations(scene)

    def holds(phrase: RelationPhrase, subject: int, other: int) -> bool:
        pair = (other, subject) if phrase.swapped else (subject, other)
        return (pair[0], phrase.name, pair[1]) in facts

    links: list[_Link] = []
    for phrase in RELATION_PHRASES:
        for subject in named:
            others = [other for other in named if other != subject]
            true_of = [other for other in others if holds(phrase, subject, other)]
            links += [_Link(phrase, subject, (other,)) for other in true_of]
            if len(true_of) == 2:
                links.append(_Link(phrase, subject, (true_of[0], true_of[1])))
    return links


def _pick_link(scene: Scene, named: list[int], rng: random.Random) -> _Link | None:
    links = _links(scene, named)
    if not links:
        return None
    names = list(dict.fromkeys(link.phrase.name for link in links))
    name = rng.choices(names, [_RELATION_WEIGHTS[each] for each in names])[0]
    links = [link for link in links if link.phrase.name == name]
    if rng.random() < _STRIKING_FIRST:
        first = min(named.index(link.subject) for link in links)
        links = [link for link in links if named.index(link.subject) == first]
    return rng.choice(links)


def _clauses(
    scene: Scene, named: list[int], rng: random.Random, detail: float, sentence: _Sentence
) -> tuple[list[str], list[int]]:
    """The things named, as words, and the order they come in; settles what the copula needs."""

    def phrase(index: int) -> list[str]:
        return _noun_phrase(scene.groups[index], rng, detail)

    link = _pick_link(scene, named, rng) if rng.random() < _RELATION_CHANCE else None
    if link is not None:
        rest = [index for index in named if index not in (link.subject, *link.objects)]
        if sentence.opening == "copula" and rest:
            sentence.opening = "none"
        subject = phrase(link.subject)
        if sentence.opening == "copula":
            subject.append(COPULAS[_number_of(scene.groups[link.subject])])
        objects = _list([phrase(index) for index in link.objects])
        clause = [*subject, *link.phrase.words.split(), *objects]
        linked = [link.subject, *link.objects]
        if not rest:
            return clause, linked
        other = _list([phrase(index) for index in rest])
        if rng.random() < 0.6:
            return [*clause, ",", "and", *other], linked + rest
        return [*other, ",", "and", *clause], rest + linked

    if sentence.opening == "copula" and not (sentence.end and sentence.end[0].places):
        sentence.opening = "none"
    phrases = [phrase(index) for index in named]
    if sentence.opening == "copula":
        number = "many" if len(named) > 1 else _number_of(scene.groups[named[0]])
        return [*_list(phrases), COPULAS[number]], named
    if len(phrases) > 1 and rng.random() < 0.15:
        return [*phrases[0], "with", *_list(phrases[1:])], named
    return _list(phrases), named


def _setting(scene: Scene, rng: random.Random, detail: float) -> list[SettingPhrase]:
    """Place, time and weather as far as this writer mentions them."""
    said: list[SettingPhrase] = []
    if rng.random() < 0.25 + 0.7 * detail:
        said.append(rng.choice([each for each in PLACE_PHRASES if scene.place in each.places]))
    said += _air(scene, rng, detail)
    if rng.random() < 0.3:
        said.reverse()
    return said


def _air(scene: Scene, rng: random.Random, detail: float) -> list[SettingPhrase]:
    true = [
        phrase
        for phrase in AIR_PHRASES
        if phrase.time in (None, scene.time)
        and phrase.weather in (None, scene.weather)
        and (phrase.weather is None or shows_weather(scene.place))
        and (phrase.time is None or shows_time(scene.place))
    ]
    plain = scene.time == "day" and scene.weather == "clear"
    chance = 0.08 + 0.25 * detail if plain else 0.3 + 0.55 * detail
    if not true or rng.random() >= chance:
        return []
    first = rng.choice(true)
    rest = [
        phrase
        for phrase in true
        if not (first.time and phrase.time) and not (first.weather and phrase.weather)
    ]
    return [first, rng.choice(rest)] if rest and rng.random() < 0.4 * detail else [first]


def _arrange_setting(
    sentence: _Sentence, said: list[SettingPhrase], scene: Scene, rng: random.Random
) -> None:
    """Puts the setting before or after the things; a drawing's is always after them."""
    striking = scene.time != "day" or scene.weather != "clear"
    to_front = 0
    if sentence.opening != "medium" and rng.random() < (0.34 if striking else 0.18):
        to_front = len(said) if rng.random() < 0.6 else min(1, len(said))
    sentence.front, sentence.end = said[:to_front], said[to_front:]
