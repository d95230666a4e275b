"""Counts of n-grams over many captions at once, as sorted arrays.

Captions are rows of integers. A pair of words is named by both numbers in one integer, longer
n-grams by the number of their first pair and the rest, so no two n-grams share a name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Tokens = Sequence[str]
Integers = NDArray[np.int64]
LONGEST = 4


@dataclass(frozen=True)
class Counts:
    """How often each n-gram of one length stands in each caption; sorted by caption, then n-gram.

    Attributes:
        rows: The caption, [E].
        grams: The n-gram's name, [E].
        counts: How often, [E], >= 1.
    """

    rows: Integers
    grams: Integers
    counts: Integers


class Vocabulary:
    """Numbers for words and pairs of words, dealt out as they come."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._pairs: Integers = np.empty(0, np.int64)  # sorted
        self._pair_ids: Integers = np.empty(0, np.int64)

    def count(self, captions: Iterable[Tokens]) -> tuple[list[Counts], Integers]:
        """N-grams of 1 to 4 words, and the captions' lengths in words, [N]."""
        captions = list(captions)
        lengths = np.array([len(tokens) for tokens in captions], np.int64)
        words = self._words
        ids = np.fromiter(
            (words.setdefault(word, len(words)) for word in chain.from_iterable(captions)),
            np.int64,
            count=int(lengths.sum()),
        )
        rows = np.repeat(np.arange(len(captions)), lengths)  # [W], each word's caption
        starts = np.cumsum(lengths) - lengths
        left = lengths[rows] - (np.arange(len(ids)) - starts[rows])  # [W], words from here to end
        pairs = self._number_pairs((ids[:-1] << 32 | ids[1:])[left[:-1] > 1], left)
        found = [_count(rows, ids)]
        for n in range(2, LONGEST + 1):
            at = np.flatnonzero(left >= n)
            last = {2: None, 3: ids, 4: pairs}[n]
            grams = pairs[at] if last is None else pairs[at] << 32 | last[at + 2]
            found.append(_count(rows[at], grams))
        return found, lengths

    def _number_pairs(self, keys: Integers, left: Integers) -> Integers:
        """The number of the pair that begins at each word, [W]; 0 where none does."""
        unique, inverse = np.unique(keys, return_inverse=True)
        ids, known = look_up(self._pairs, self._pair_ids, unique)
        if not known.all():
            ids[~known] = np.arange(len(self._pairs), len(self._pairs) + int((~known).sum()))
            pairs = np.concatenate([self._pairs, unique[~known]])
            order = np.argsort(pairs)
            self._pair_ids = np.concatenate([self._pair_ids, ids[~known]])[order]
            self._pairs = pairs[order]
        placed = np.zeros(len(left), np.int64)
        placed[left > 1] = ids[inverse]
        return placed


def look_up(keys: Integers, values: NDArray, wanted: Integers) -> tuple[NDArray, NDArray[np.bool_]]:
    """The values that belong to `wanted` among sorted `keys`, 0 where missing; and which are there.

    Args:
        keys: Sorted and distinct, [E].
        values: [E].
        wanted: [M].
    """
    if len(keys) == 0:
        return np.zeros(len(wanted), values.dtype), np.zeros(len(wanted), np.bool_)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    known = keys[place] == wanted
    return np.where(known, values[place], 0), known


def _count(rows: Integers, grams: Integers) -> Counts:
    order = np.lexsort((grams, rows))
    rows, grams = rows[order], grams[order]
    new = np.ones(len(rows), np.bool_)
    new[1:] = (rows[1:] != rows[:-1]) | (grams[1:] != grams[:-1])
    first = np.flatnonzero(new)
    return Counts(rows[first], grams[first], np.diff(first, append=len(rows)))
