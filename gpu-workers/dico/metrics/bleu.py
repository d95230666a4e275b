"""BLEU-1 to BLEU-4 of a corpus (Papineni et al., ACL 2002) as COCO's tools compute it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dico.metrics.ngrams import LONGEST, Tokens, Vocabulary, look_up

# COCO's guards against dividing by nothing: an n with no match leaves a trace instead of 0.
_TINY, _SMALL = 1e-15, 1e-9


def bleu(
    candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]
) -> tuple[float, float, float, float]:
    """BLEU-1, -2, -3 and -4 of all captions together, 0-1.

    N-grams count at most as often as in the human caption that has most of them; the brevity
    penalty compares with the human caption closest in length, the shorter of equals.

    Args:
        candidates: Tokens of one caption of each image, [N].
        human_captions: Tokens of each image's human captions, [N], at least one each.
    """
    vocabulary = Vocabulary()
    counted, lengths = vocabulary.count(candidates)
    human, _ = vocabulary.count(tokens for own in human_captions for tokens in own)
    image_of = np.repeat(np.arange(len(human_captions)), [len(own) for own in human_captions])
    closest = sum(
        min((abs(len(tokens) - int(length)), len(tokens)) for tokens in own)[1]
        for length, own in zip(lengths, human_captions, strict=True)
    )
    length = int(lengths.sum())
    brevity = math.exp(min(1 - (closest + _SMALL) / (length + _TINY), 0.0))
    product, scores = 1.0, []
    for n, (said, theirs) in enumerate(zip(counted, human, strict=True), start=1):
        gram_ids = np.unique(theirs.grams)
        names = np.searchsorted(gram_ids, theirs.grams)
        keys, order = np.unique(image_of[theirs.rows] * len(gram_ids) + names, return_inverse=True)
        most = np.zeros(len(keys), np.int64)
        np.maximum.at(most, order, theirs.counts)
        name, known = look_up(gram_ids, np.arange(len(gram_ids)), said.grams)
        allowed, _ = look_up(keys, most, np.where(known, said.rows * len(gram_ids) + name, -1))
        right = int(np.minimum(said.counts, allowed).sum())
        product *= (right + _TINY) / (int(said.counts.sum()) + _SMALL)
        scores.append(product ** (1 / n) * brevity)
    assert len(scores) == LONGEST
    return scores[0], scores[1], scores[2], scores[3]
