"""CIDEr-D (arXiv:1411.5726, section 5) as COCO's tools compute it, for a corpus or as a reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dico.metrics.ngrams import Counts, Integers, Tokens, Vocabulary, look_up

SIGMA = 6.0
Floats = NDArray[np.float64]


def cider_d(candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]) -> Floats:
    """CIDEr-D of each caption, 0-10, with the evaluated images' own document frequencies.

    The corpus' figure is the mean. An image alone gives 0, because every n-gram is in every image.

    Args:
        candidates: Tokens of one caption of each image, [N].
        human_captions: Tokens of each image's human captions, [N], at least one each.
    """
    return DocumentFrequencies.of(human_captions).score(candidates, human_captions)


@dataclass(frozen=True)
class DocumentFrequencies:
    """In how many images' human captions each n-gram occurs; fixed, so CIDEr-D can be a reward.

    Attributes:
        images: How many images there are.
        vocabulary: Names of the n-grams; grows with captions that have new ones.
        grams: Names of the n-grams of 1 to 4 words that occur, sorted.
        counts: In how many images each does.
    """

    images: int
    vocabulary: Vocabulary
    grams: tuple[Integers, ...]
    counts: tuple[Integers, ...]

    @classmethod
    def of(cls, human_captions: Sequence[Sequence[Tokens]]) -> DocumentFrequencies:
        """Counts the tokens of each image's human captions, [N]."""
        vocabulary = Vocabulary()
        found, _ = vocabulary.count(tokens for own in human_captions for tokens in own)
        images = np.repeat(np.arange(len(human_captions)), [len(own) for own in human_captions])
        grams, counts = [], []
        for each in found:
            names, index = np.unique(each.grams, return_inverse=True)
            pairs = np.unique(index * len(images) + images[each.rows])  # each image once a gram
            grams.append(names)
            counts.append(np.bincount(pairs // max(len(images), 1), minlength=len(names)))
        return cls(len(human_captions), vocabulary, tuple(grams), tuple(counts))

    def score(
        self, candidates: Sequence[Tokens], human_captions: Sequence[Sequence[Tokens]]
    ) -> Floats:
        """CIDEr-D of each caption, 0-10, [N].

        Args:
            candidates: Tokens of captions, [N]; an image with K captions comes K times.
            human_captions: Tokens of the human captions of each caption's image, [N], at least
                one each. Equal lists are counted once if they are the same object.
        """
        # Captions of one image share its human captions: count those once.
        distinct = {id(own): own for own in human_captions}
        first_row = dict(
            zip(distinct, np.cumsum([0] + [len(own) for own in distinct.values()]), strict=False)
        )
        said, length = self.vocabulary.count(candidates)
        theirs, their_length = self.vocabulary.count(
            tokens for own in distinct.values() for tokens in own
        )
        compared = np.array([len(own) for own in human_captions], np.int64)
        first_pair = np.cumsum(compared) - compared
        caption = np.repeat(np.arange(len(candidates)), compared)  # [P], pairs with a human caption
        human = np.repeat([first_row[id(own)] for own in human_captions], compared)
        human = human + np.arange(len(caption)) - first_pair[caption]  # [P]
        cosines = np.zeros(len(caption))
        for n, (mine, other) in enumerate(zip(said, theirs, strict=True)):
            cosines += self._cosines(n, mine, other, caption, human, first_pair, compared)
        apart = np.maximum(length[caption] - 1, 0) - np.maximum(their_length[human] - 1, 0)
        similarity = cosines / len(said) * np.exp(-(apart**2) / (2 * SIGMA**2))
        return 10 * np.bincount(caption, similarity, len(candidates)) / compared

    def _cosines(
        self,
        n: int,
        mine: Counts,
        other: Counts,
        caption: Integers,
        human: Integers,
        first_pair: Integers,
        compared: Integers,
    ) -> Floats:
        """Clipped cosine of each pair over the n-grams of one length, [P]."""
        weight, norm = self._weigh(n, mine, len(compared))
        other_weight, other_norm = self._weigh(n, other, int(human.max(initial=-1)) + 1)
        # Only n-grams that some human caption has can match; each meets every one of its image's.
        names = np.unique(other.grams)
        name, known = look_up(names, np.arange(len(names)), mine.grams)
        rows, name, weight = mine.rows[known], name[known], weight[known]
        times = compared[rows]
        entry = np.repeat(np.arange(len(rows)), times)
        pair = np.arange(len(entry)) - (np.cumsum(times) - times)[entry] + first_pair[rows[entry]]
        keys = other.rows * len(names) + np.searchsorted(names, other.grams)
        matched, _ = look_up(keys, other_weight, human[pair] * len(names) + name[entry])
        product = np.minimum(weight[entry], matched) * matched
        norms = norm[caption] * other_norm[human]
        total = np.bincount(pair, product, len(caption))
        return np.divide(total, norms, out=np.zeros(len(caption)), where=norms > 0)

    def _weigh(self, n: int, counts: Counts, rows: int) -> tuple[Floats, Floats]:
        """tf-idf of each entry, [E], and the norm of each caption, [rows]."""
        seen, _ = look_up(self.grams[n], self.counts[n], counts.grams)
        weight = counts.counts * (np.log(self.images) - np.log(np.maximum(seen, 1)))
        norm = np.sqrt(np.bincount(counts.rows, weight**2, minlength=rows))
        return weight, norm
