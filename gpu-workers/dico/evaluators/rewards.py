"""A tenant's reward as data: a weighted sum of evaluators, rules and an HTTP judge.

    {"sum": [{"weight": 1, "reward": {"type": "pac_s"}},
             {"weight": -1, "reward": {"type": "length", "most": 12}},
             {"weight": -5, "reward": {"type": "banned_words", "words": ["cheap"]}},
             {"type": "http_judge", "url": "https://judge.example/scores"}]}

A term without a weight counts once. Every bound is checked when the reward is read, so nothing
fails in the middle of a training but a judge that does not answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import torch
from torch import Tensor

from dico.evaluators.http_judge import HttpJudge, is_public
from dico.evaluators.scores import WEIGHTS, ScoreName

MAX_TERMS = 16
MAX_DEPTH = 3
MAX_WEIGHT = 100.0
MAX_WORDS = 200
MAX_WORD_LETTERS = 64
MAX_CAPTION_WORDS = 512
MAX_URL = 2048
MAX_TIMEOUT_SECONDS = 30.0
_WORD = re.compile(r"[\w'-]+")


class RewardError(ValueError):
    """The data does not describe a reward; the message says where and why.

    Attributes:
        path: To the fault, as in `$.sum[2].reward.url`.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


@dataclass(frozen=True)
class Captions:
    """What rewards may look at: K captions of one image.

    Attributes:
        texts: The captions.
        image_sha256: Digest of the image.
        scores: CLIP-S and PAC-S of each, [K]; those that the reward names.
        transport: That an HTTP judge is asked through.
    """

    texts: list[str]
    image_sha256: str
    scores: Mapping[ScoreName, Tensor]
    transport: httpx.BaseTransport


@dataclass(frozen=True)
class EvaluatorScore:
    """CLIP-S or PAC-S."""

    score: ScoreName

    def of(self, captions: Captions) -> Tensor:
        """The evaluator's score of each caption, [K]."""
        return captions.scores[self.score].float()


@dataclass(frozen=True)
class Length:
    """Words too many or too few; 0 within the bounds, so its weight is usually negative."""

    most: int | None
    least: int | None

    def of(self, captions: Captions) -> Tensor:
        """Words outside the bounds, [K]."""
        words = torch.tensor([float(len(_words(text))) for text in captions.texts])
        above = 0.0 if self.most is None else (words - self.most).clamp(min=0)
        below = 0.0 if self.least is None else (self.least - words).clamp(min=0)
        return torch.zeros_like(words) + above + below


@dataclass(frozen=True)
class BannedWords:
    """How often a caption says a banned word or phrase, whatever its capitals."""

    phrases: tuple[tuple[str, ...], ...]

    def of(self, captions: Captions) -> Tensor:
        """Occurrences, [K]."""
        return torch.tensor([float(self._count(_words(text))) for text in captions.texts])

    def _count(self, words: list[str]) -> int:
        return sum(
            tuple(words[start : start + len(phrase)]) == phrase
            for phrase in self.phrases
            for start in range(len(words) - len(phrase) + 1)
        )


@dataclass(frozen=True)
class JudgeScore:
    """What the tenant's own service says."""

    judge: HttpJudge

    def of(self, captions: Captions) -> Tensor:
        """The judge's scores, [K].

        Raises:
            JudgeError: It gave none.
        """
        return torch.tensor(
            self.judge.score(captions.texts, captions.image_sha256, captions.transport)
        )


@dataclass(frozen=True)
class WeightedSum:
    """Several rewards together."""

    terms: tuple[tuple[float, Reward], ...]

    def of(self, captions: Captions) -> Tensor:
        """The weighted sum, [K]."""
        return torch.stack([weight * term.of(captions) for weight, term in self.terms]).sum(dim=0)


Reward = EvaluatorScore | Length | BannedWords | JudgeScore | WeightedSum


def parse_reward(value: object, path: str = "$") -> Reward:
    """Reads a reward from parsed JSON.

    Args:
        value: What `json.loads` gave.
        path: Where it stands in the whole, for messages.

    Raises:
        RewardError: It is not one, or a bound is exceeded.
    """
    return _reward(value, path, MAX_DEPTH)


def evaluator_scores(reward: Reward) -> set[ScoreName]:
    """Which evaluators have to be asked before the reward can be computed."""
    if isinstance(reward, WeightedSum):
        return {name for _, term in reward.terms for name in evaluator_scores(term)}
    return {reward.score} if isinstance(reward, EvaluatorScore) else set()


def _reward(value: object, path: str, depth: int) -> Reward:
    if not isinstance(value, dict):
        raise RewardError(path, "expected an object")
    if "sum" in value:
        return _sum(value, path, depth)
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _READERS:
        raise RewardError(f"{path}.type", f"expected one of {', '.join(_READERS)}")
    return _READERS[kind](value, path)


def _sum(value: dict[str, Any], path: str, depth: int) -> WeightedSum:
    _only(value, path, "sum")
    terms = value["sum"]
    if depth == 0:
        raise RewardError(path, f"sums may be {MAX_DEPTH} deep")
    if not isinstance(terms, list) or not 1 <= len(terms) <= MAX_TERMS:
        raise RewardError(f"{path}.sum", f"expected a list of 1 to {MAX_TERMS} terms")
    read: list[tuple[float, Reward]] = []
    for index, term in enumerate(terms):
        at = f"{path}.sum[{index}]"
        if isinstance(term, dict) and "reward" in term:
            _only(term, at, "weight", "reward")
            weight = _number(term.get("weight", 1), f"{at}.weight", -MAX_WEIGHT, MAX_WEIGHT)
            read.append((weight, _reward(term["reward"], f"{at}.reward", depth - 1)))
        else:
            read.append((1.0, _reward(term, at, depth - 1)))
    return WeightedSum(tuple(read))


def _evaluator(value: dict[str, Any], path: str) -> EvaluatorScore:
    _only(value, path, "type")
    return EvaluatorScore(value["type"])


def _length(value: dict[str, Any], path: str) -> Length:
    _only(value, path, "type", "most", "least")
    bounds: dict[str, int | None] = {"most": None, "least": None}
    for name in bounds:
        if name in value:
            number = _number(value[name], f"{path}.{name}", 1, MAX_CAPTION_WORDS)
            if number != int(number):
                raise RewardError(f"{path}.{name}", "expected a whole number of words")
            bounds[name] = int(number)
    most, least = bounds["most"], bounds["least"]
    if most is None and least is None:
        raise RewardError(path, "expected most, least or both")
    if most is not None and least is not None and least > most:
        raise RewardError(f"{path}.least", "is above most")
    return Length(most, least)


def _banned_words(value: dict[str, Any], path: str) -> BannedWords:
    _only(value, path, "type", "words")
    words = value.get("words")
    if not isinstance(words, list) or not 1 <= len(words) <= MAX_WORDS:
        raise RewardError(f"{path}.words", f"expected a list of 1 to {MAX_WORDS} words")
    phrases: list[tuple[str, ...]] = []
    for index, word in enumerate(words):
        phrase = tuple(_words(word[:MAX_WORD_LETTERS])) if isinstance(word, str) else ()
        if not phrase or len(word) > MAX_WORD_LETTERS:
            message = f"expected a word of at most {MAX_WORD_LETTERS} letters"
            raise RewardError(f"{path}.words[{index}]", message)
        phrases.append(phrase)
    return BannedWords(tuple(dict.fromkeys(phrases)))


def _http_judge(value: dict[str, Any], path: str) -> JudgeScore:
    _only(value, path, "type", "url", "timeout_seconds")
    given = value.get("timeout_seconds", HttpJudge.timeout_seconds)
    seconds = _number(given, f"{path}.timeout_seconds", 0.1, MAX_TIMEOUT_SECONDS)
    return JudgeScore(HttpJudge(_https_url(value.get("url"), f"{path}.url"), seconds))


def _https_url(value: object, path: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isascii():
        raise RewardError(path, f"expected an https URL of at most {MAX_URL} ASCII characters")
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise RewardError(path, "is no URL") from error
    if parts.scheme != "https" or not host or re.search(r"[\s\\]", value):
        raise RewardError(path, "expected an https URL with a host")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise RewardError(path, "may hold neither user, password nor fragment")
    if port not in (None, 443):
        raise RewardError(path, "may name no port but 443")
    is_address = ":" in host or host.replace(".", "").isdigit()
    named = "." in host and not host.rstrip(".").endswith((".localhost", ".local", ".internal"))
    if not (is_public(host) if is_address else named):
        raise RewardError(path, "expected a public host")
    return value


_READERS: dict[str, Callable[[dict[str, Any], str], Reward]] = {
    **dict.fromkeys(WEIGHTS, _evaluator),
    "length": _length,
    "banned_words": _banned_words,
    "http_judge": _http_judge,
}


def _only(value: dict[str, Any], path: str, *known: str) -> None:
    for name in value:
        if name not in known:
            raise RewardError(path, f"does not know {str(name)[:40]!r}")


def _number(value: object, path: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RewardError(path, "expected a number")
    if not low <= value <= high:  # NaN neither
        raise RewardError(path, f"expected a number between {low:g} and {high:g}")
    return float(value)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
