"""ROUGE-L (Lin, 2004) as COCO's tools compute it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dico.metrics.ngrams import Tokens

# Recall counts this many times as much as precision.
BETA = 1.2


def rouge_l(
    candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]
) -> NDArray[np.float64]:
    """ROUGE-L of each caption, 0-1; the corpus' figure is the mean.

    F of the longest common subsequence, from the best precision and the best recall over the
    human captions, which need not come from the same one.

    Args:
        candidates: Tokens of one caption of each image, [N].
        human_captions: Tokens of each image's human captions, [N], at least one each.
    """
    pairs = zip(candidates, human_captions, strict=True)
    return np.array([_rouge_l(tokens, own) for tokens, own in pairs])


def _rouge_l(tokens: Tokens, human: Sequence[Tokens]) -> float:
    # To COCO's tools a caption without a word is one empty word.
    tokens = tokens or [""]
    common = [_common_length(tokens, own or [""]) for own in human]
    precision = max(common) / len(tokens)
    recall = max(length / max(len(own), 1) for length, own in zip(common, human, strict=True))
    if precision == 0:
        return 0.0
    return (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)


def _common_length(first: Tokens, second: Tokens) -> int:
    """Length of the longest common subsequence, a row of the table in one integer (Hyyrö, 2004)."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    everything = (1 << len(first)) - 1
    row = everything
    for word in second:
        match = row & places.get(word, 0)
        row = (row + match | row - match) & everything
    return len(first) - row.bit_count()
