"""Reads captions: exactly the sentences that the grammar can write, and what each one claims."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from scenes.kinds import COLOURS
from scenes.lexicon import (
    AIR_PHRASES,
    COPULAS,
    MAX_GROUPS,
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
    kind_forms,
    tokens_of,
)
from scenes.scene import RelationName


@dataclass(frozen=True)
class Mention:
    """One thing a caption names; `count` is None where it only says that there are several."""

    kind: str
    number: Number
    count: int | None
    size: str | None
    colour: str | None
    words: str


@dataclass(frozen=True)
class RelationClaim:
    """`subject` stands in this relation to `object`; both are indices into `Parsed.mentions`."""

    subject: int
    name: RelationName
    object: int
    words: str


@dataclass(frozen=True)
class Parsed:
    """What a grammatical caption says.

    Attributes:
        opening: How it begins: with a medium ("a drawing of"), "there is", or with neither.
        mentions: The things named, in order.
        relations: What it says about where they are to each other, in the scene graph's terms.
        settings: What it says about the whole scene, in order.
        setting_first: Whether any of that comes before the things.
        n_words: Words of the caption.
    """

    opening: Literal["none", "medium", "there"]
    mentions: tuple[Mention, ...]
    relations: tuple[RelationClaim, ...]
    settings: tuple[SettingPhrase, ...]
    setting_first: bool
    n_words: int


class _Ungrammatical(Exception):
    """The caption left the grammar's language."""


@cache
def _nouns() -> dict[tuple[str, ...], list[tuple[str, Number]]]:
    nouns: dict[tuple[str, ...], list[tuple[str, Number]]] = {}
    for kind, (singular, plural) in kind_forms().items():
        nouns.setdefault(tuple(singular.split()), []).append((kind, "one"))
        nouns.setdefault(tuple(plural.split()), []).append((kind, "many"))
    return nouns


_LONGEST_NOUN = 4
_SETTING_PHRASES = sorted((*PLACE_PHRASES, *AIR_PHRASES), key=lambda each: -len(each.words))


class _Reader:
    """A position in a caption's tokens and what was read so far."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.at = 0
        self.mentions: list[Mention] = []
        self.relations: list[RelationClaim] = []
        self.settings: list[SettingPhrase] = []

    def peek(self, words: str) -> bool:
        expected = words.split()
        return self.tokens[self.at : self.at + len(expected)] == expected

    def take(self, words: str) -> bool:
        found = self.peek(words)
        self.at += len(words.split()) if found else 0
        return found

    def expect(self, words: str) -> None:
        if not self.take(words):
            raise _Ungrammatical

    def noun(self, number: Number) -> str:
        for length in range(_LONGEST_NOUN, 0, -1):
            words = tuple(self.tokens[self.at : self.at + length])
            for kind, its_number in _nouns().get(words, []):
                if its_number == number and len(words) == length:
                    self.at += length
                    return kind
        raise _Ungrammatical

    def mention(self) -> Mention:
        start = self.at
        number, count, needed_article = self.determiner()
        first = self.at
        size = next((word for word in SIZES if self.take(word)), None)
        colour = next((word for word in COLOURS if self.take(word)), None)
        kind = self.noun(number)
        if needed_article is not None and article(self.tokens[first]) != needed_article:
            raise _Ungrammatical
        words = " ".join(self.tokens[start : self.at])
        mention = Mention(kind, number, count, size, colour, words)
        self.mentions.append(mention)
        return mention

    def determiner(self) -> tuple[Number, int | None, str | None]:
        for word in ("a", "an"):
            if self.take(word):
                return "one", 1, word
        for word, count in NUMBERS.items():
            if self.take(word):
                return "many", count, None
        self.take("some")
        return "many", None, None

    def more_mentions(self) -> None:
        """The rest of `a, b and c`; `, and` begins another clause instead."""
        in_list = False
        while self.peek(",") and not self.peek(", and"):
            self.expect(",")
            self.mention()
            in_list = True
        if in_list:
            self.expect("and")
            self.mention()
        elif self.take("and"):
            self.mention()

    def setting_ahead(self) -> SettingPhrase | None:
        return next((each for each in _SETTING_PHRASES if self.peek(each.words)), None)

    def relation_ahead(self) -> RelationPhrase | None:
        # A place may be "in front of" something that no kind is.
        if self.setting_ahead() is not None:
            return None
        return next((each for each in RELATION_PHRASES if self.peek(each.words)), None)

    def clause(self, *, copula: bool) -> bool:
        """One clause; returns whether it relates things. A copula makes it a sentence."""
        start = len(self.mentions)
        subject = self.mention()
        if self.take("with"):
            self.mention()
            self.more_mentions()
            return False
        if self.relation_ahead() is None:
            self.more_mentions()
        number = "many" if len(self.mentions) - start > 1 else subject.number
        said_copula = copula and self.take(COPULAS[number])
        phrase = self.relation_ahead() if len(self.mentions) - start == 1 else None
        if phrase is None:
            ahead = self.setting_ahead()
            if said_copula and (ahead is None or not ahead.places):
                raise _Ungrammatical
            return False
        self.expect(phrase.words)
        self.mention()
        self.more_mentions()
        for other in range(start + 1, len(self.mentions)):
            subject_index, object_index = (other, start) if phrase.swapped else (start, other)
            words = f"{subject.words} {phrase.words} {self.mentions[other].words}"
            claim = RelationClaim(subject_index, phrase.name, object_index, words)
            self.relations.append(claim)
        return True

    def setting(self) -> None:
        while (phrase := self.setting_ahead()) is not None:
            said = self.settings
            if (
                (phrase.places and any(each.places for each in said))
                or (phrase.time and any(each.time for each in said))
                or (phrase.weather and any(each.weather for each in said))
            ):
                raise _Ungrammatical
            self.expect(phrase.words)
            said.append(phrase)


def kinds_named(words: list[str]) -> list[str]:
    """Every kind among these words, in order, whether or not they make a sentence."""
    kinds: list[str] = []
    at = 0
    while at < len(words):
        for length in range(_LONGEST_NOUN, 0, -1):
            found = _nouns().get(tuple(words[at : at + length]))
            if found is not None and at + length <= len(words):
                kinds.append(found[0][0])
                at += length
                break
        else:
            at += 1
    return kinds


def parse(caption: str) -> Parsed | None:
    """What the caption says, or None where the grammar has no such sentence."""
    tokens = tokens_of(caption)
    if not tokens or len(tokens) > MAX_TOKENS:
        return None
    try:
        return _read(tokens)
    except _Ungrammatical:
        return None


def _read(tokens: list[str]) -> Parsed:
    reader = _Reader(tokens)
    reader.setting()
    setting_first = bool(reader.settings)
    if setting_first:
        reader.expect(",")

    opening: Literal["none", "medium", "there"] = "none"
    there: str | None = None
    if not setting_first and any(reader.take(words) for words in MEDIUM_PREFACES):
        opening = "medium"
    else:
        there = next((n for n, words in THERE_PREFACES.items() if reader.take(words)), None)
        opening = "none" if there is None else "there"

    body = reader.at
    related = reader.clause(copula=opening == "none")
    if there is not None and reader.mentions[0].number != there:
        raise _Ungrammatical
    if reader.take(", and"):
        # Only a clause that relates things needs to be kept apart from the rest.
        said_copula = any(word in COPULAS.values() for word in tokens[body : reader.at])
        related = reader.clause(copula=False) or related
        if said_copula or not related:
            raise _Ungrammatical
    reader.setting()
    if reader.at != len(tokens) or len(reader.mentions) > MAX_GROUPS:
        raise _Ungrammatical
    return Parsed(
        opening=opening,
        mentions=tuple(reader.mentions),
        relations=tuple(reader.relations),
        settings=tuple(reader.settings),
        setting_first=setting_first,
        n_words=sum(token != "," for token in tokens),
    )
