"""Captions with one named error: what an evaluator has to rank below the truth.

Errors of fact stay sentences of the grammar; errors of form (order, repetition, doubled, cut)
leave it or say a thing twice. Each is deterministic and judged by the scene's checker, so that no
corrupted caption is true of its scene.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Literal, get_args

from scenes.checker import Check, check
from scenes.kinds import COLOURS
from scenes.lexicon import (
    AIR_PHRASES,
    MAX_TOKENS,
    NUMBERS,
    PLACE_PHRASES,
    RELATION_PHRASES,
    SIZES,
    article,
    join_tokens,
    kind_forms,
    tokens_of,
)
from scenes.parser import Mention, parse
from scenes.places import PLACES
from scenes.scene import Scene

Error = Literal[
    "kind",
    "count",
    "colour",
    "size",
    "background",
    "relation",
    "order",
    "repetition",
    "doubled",
    "cut",
]
ERRORS: tuple[Error, ...] = get_args(Error)

_TRIES = 6
_NUMBER_WORDS = {count: word for word, count in NUMBERS.items()}
_MIRRORS = {
    "to the left of": "to the right of",
    "to the right of": "to the left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}
# What the checker may call a wrong fact of each kind; what is not there stands nowhere either.
_FACT_TYPES: dict[Error, set[str]] = {
    "kind": {"kind", "relation"},
    "count": {"count"},
    "colour": {"colour"},
    "size": {"size"},
    "background": {"place", "time", "weather"},
    "relation": {"relation"},
}


class Corruptor:
    """One true caption of one scene, read once, from which any error can be made."""

    def __init__(self, scene: Scene, caption: str) -> None:
        """Args: scene: what the caption is true of; caption: one the grammar wrote for it.

        Raises:
            ValueError: The caption is not a sentence of the grammar.
        """
        parsed, tokens = parse(caption), tokens_of(caption)
        if parsed is None or tokens is None:
            raise ValueError(f"not a caption of the grammar: {caption!r}")
        self.caption = caption
        self._scene, self._parsed, self._tokens = scene, parsed, tokens
        self._group_of = {group.kind: group for group in scene.groups}
        self._spans = _spans(tokens, [mention.words.split() for mention in parsed.mentions])

    def corrupted(self, error: Error, seed: int) -> str | None:
        """The caption with that error; None where the scene or the caption offers none."""
        rng = random.Random(f"{error}/{seed}")
        for _ in range(_TRIES):
            tokens = _EDITS[error](self, rng)
            if tokens is None or not 0 < len(tokens) <= MAX_TOKENS:
                continue
            text = join_tokens(tokens)
            if text != self.caption and _has(error, check(text, self._scene)):
                return text
        return None

    def _pick(self, rng: random.Random) -> tuple[Mention, slice]:
        index = rng.randrange(len(self._spans))
        return self._parsed.mentions[index], self._spans[index]

    def _replaced(self, span: slice, words: list[str]) -> list[str]:
        return [*self._tokens[: span.start], *words, *self._tokens[span.stop :]]

    def _kind(self, rng: random.Random) -> list[str] | None:
        mention, span = self._pick(rng)
        # Half of the time a kind that could as well be at this place.
        names = PLACES[self._scene.place].kinds if rng.random() < 0.5 else kind_forms()
        other = rng.choice(sorted(names))
        return self._replaced(span, _phrase(mention, kind=other))

    def _count(self, rng: random.Random) -> list[str] | None:
        mention, span = self._pick(rng)
        true = self._group_of[mention.kind].count
        count = rng.choice([each for each in (1, 2, 3, 4) if each != true])
        tokens = self._replaced(span, _phrase(mention, count=count))
        copula = {True: "is", False: "are"}[count == 1]
        changed = span.start + len(_phrase(mention, count=count))
        for at in (span.start - 1, changed):
            if 0 <= at < len(tokens) and tokens[at] in ("is", "are"):
                agreeing = [*tokens[:at], copula, *tokens[at + 1 :]]
                tokens = tokens if parse(join_tokens(tokens)) is not None else agreeing
        return tokens

    def _colour(self, rng: random.Random) -> list[str] | None:
        named = list(zip(self._parsed.mentions, self._spans, strict=True))
        coloured = [pair for pair in named if self._group_of[pair[0].kind].colour is not None]
        if not coloured:
            return None
        mention, span = rng.choice(coloured)
        true = self._group_of[mention.kind].colour
        colour = rng.choice([each for each in COLOURS if each != true])
        return self._replaced(span, _phrase(mention, colour=colour))

    def _size(self, rng: random.Random) -> list[str] | None:
        mention, span = self._pick(rng)
        true = self._group_of[mention.kind].size
        size = rng.choice([each for each in SIZES if each != true])
        return self._replaced(span, _phrase(mention, size=size))

    def _background(self, rng: random.Random) -> list[str] | None:
        scene, said = self._scene, self._parsed.settings
        phrase = rng.choice(said) if said else None
        wrong = [
            each
            for each in (*PLACE_PHRASES, *AIR_PHRASES)
            if (phrase is None or bool(each.places) == bool(phrase.places))
            and not (
                scene.place in (each.places or {scene.place})
                and each.time in (None, scene.time)
                and each.weather in (None, scene.weather)
            )
        ]
        words = rng.choice(wrong).words.split()
        if phrase is None:
            return [*self._tokens, *words]
        return self._replaced(self._span_of(phrase.words), words)

    def _relation(self, rng: random.Random) -> list[str] | None:
        linking = [each.words for each in RELATION_PHRASES if self._finds(each.words)]
        if not self._parsed.relations or not linking:
            return None
        words = rng.choice(linking)
        span = self._span_of(words)
        before = [each for each in self._spans if each.stop <= span.start]
        after = [each for each in self._spans if each.start == span.stop]
        change = rng.random()
        if change < 0.4 and before and after:
            # Subject and object change places, with their counts and colours.
            return self._swapped(before[-1], after[0])
        if change < 0.85 and words in _MIRRORS:
            return self._replaced(span, _MIRRORS[words].split())
        return self._replaced(span, rng.choice(RELATION_PHRASES).words.split())

    def _order(self, rng: random.Random) -> list[str] | None:
        if len(self._tokens) < 3:
            return None
        change = rng.random()
        if change < 0.35:
            at = rng.randrange(len(self._tokens) - 1)
            return self._swapped(slice(at, at + 1), slice(at + 1, at + 2))
        if change < 0.6:
            first, second = sorted(rng.sample(range(len(self._tokens)), 2))
            return self._swapped(slice(first, first + 1), slice(second, second + 1))
        phrases = [*self._spans, *(self._span_of(each.words) for each in self._parsed.settings)]
        phrases += [
            self._span_of(each.words) for each in RELATION_PHRASES if self._finds(each.words)
        ]
        if len(phrases) < 2:
            return None
        first, second = sorted(rng.sample(phrases, 2), key=lambda span: span.start)
        return self._swapped(first, second) if first.stop <= second.start else None

    def _repetition(self, rng: random.Random) -> list[str] | None:
        mention, span = self._pick(rng)
        change = rng.random()
        settings = self._parsed.settings
        if change < 0.2 and settings:
            words = rng.choice(settings).words
            return self._replaced(self._span_of(words), [*words.split(), *words.split()])
        again = _phrase(
            mention,
            count=rng.choice((mention.count, 1, 2)),
            size=rng.choice((mention.size, *SIZES)),
        )
        if change < 0.6 and len(self._spans) > 1:
            # Another thing gives way to it, as where a captioner names one thing for two.
            return self._replaced(rng.choice([each for each in self._spans if each != span]), again)
        joint = rng.choice((["and"], [","], [",", "and"], ["with"], ["next", "to"], ["and"]))
        return self._replaced(span, [*self._tokens[span], *joint, *again])

    def _doubled(self, rng: random.Random) -> list[str] | None:
        at = rng.choice([n for n, token in enumerate(self._tokens) if token != ","])
        return self._replaced(slice(at, at), [self._tokens[at]])

    def _cut(self, rng: random.Random) -> list[str] | None:
        return self._tokens[: -rng.choice((1, 1, 1, 2, 2, 3))]

    def _swapped(self, first: slice, second: slice) -> list[str]:
        tokens = self._tokens
        return [
            *tokens[: first.start],
            *tokens[second],
            *tokens[first.stop : second.start],
            *tokens[first],
            *tokens[second.stop :],
        ]

    def _finds(self, words: str) -> bool:
        return f" {words} " in f" {' '.join(self._tokens)} "

    def _span_of(self, words: str) -> slice:
        return _spans(self._tokens, [words.split()])[0]


def _has(error: Error, found: Check) -> bool:
    """Whether the checker finds this error and, for an error of fact, no other."""
    if error == "cut":
        return not found.grammatical
    if error in _FACT_TYPES:
        wrong = {fact.type for fact in found.facts if not fact.right}
        return bool(wrong) and wrong <= _FACT_TYPES[error]
    return not found.clean or found.repetition


def _spans(tokens: list[str], phrases: list[list[str]]) -> list[slice]:
    """Where the phrases stand, each after the one before.

    Raises:
        ValueError: One of them does not.
    """
    spans: list[slice] = []
    at = 0
    for words in phrases:
        while tokens[at : at + len(words)] != words:
            at += 1
            if at >= len(tokens):
                raise ValueError(f"{words} not in {tokens}")
        spans.append(slice(at, at + len(words)))
        at += len(words)
    return spans


def _phrase(
    mention: Mention,
    *,
    kind: str | None = None,
    count: int | None = None,
    size: str | None = None,
    colour: str | None = None,
) -> list[str]:
    """The mention in other words; what is not given stays."""
    singular, plural = kind_forms()[kind or mention.kind]
    said = mention.count if count is None else count
    described = [word for word in (size or mention.size, colour or mention.colour) if word]
    described += (singular if said == 1 else plural).split()
    if said == 1:
        return [article(described[0]), *described]
    if said is None:
        return ["some", *described] if mention.words.startswith("some ") else described
    return [_NUMBER_WORDS[said], *described]


_EDITS: dict[Error, Callable[[Corruptor, random.Random], list[str] | None]] = {
    "kind": Corruptor._kind,
    "count": Corruptor._count,
    "colour": Corruptor._colour,
    "size": Corruptor._size,
    "background": Corruptor._background,
    "relation": Corruptor._relation,
    "order": Corruptor._order,
    "repetition": Corruptor._repetition,
    "doubled": Corruptor._doubled,
    "cut": Corruptor._cut,
}
