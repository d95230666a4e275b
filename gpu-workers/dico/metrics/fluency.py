"""How captions read, whatever they are about: repetition, broken endings, variety, length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dico.metrics.ngrams import Tokens, Vocabulary

# A caption that ends on one of these was cut off, or strings n-grams together for a score.
FUNCTION_WORDS = frozenset(
    (
        "a an the this that some of in on at to with from by for as and or but is are was were am "
        "be near next under over above below behind between into onto upon before after while"
    ).split()
)


def fluency(candidates: Sequence[Tokens]) -> dict[str, float]:
    """rep_1 to rep_4, distinct_1 to distinct_4, bad_endings (all 0-1), vocabulary, mean_length.

    rep-n is the share of n-grams that their own caption has said before; distinct-n the share of
    different ones among the n-grams of all captions. A caption without words has a bad ending.

    Args:
        candidates: Tokens of the captions, [N], N >= 1.
    """
    counted, lengths = Vocabulary().count(candidates)
    repeated: dict[str, float] = {}
    distinct: dict[str, float] = {}
    for n, each in enumerate(counted, start=1):
        total = int(each.counts.sum())
        repeated[f"rep_{n}"] = 1 - len(each.rows) / total if total else 0.0
        distinct[f"distinct_{n}"] = len(np.unique(each.grams)) / total if total else 0.0
    bad = [not tokens or tokens[-1] in FUNCTION_WORDS for tokens in candidates]
    return {
        **repeated,
        **distinct,
        "bad_endings": sum(bad) / len(bad),
        "vocabulary": float(len(np.unique(counted[0].grams))),
        "mean_length": float(lengths.mean()),
    }
