"""Captions that the evaluators learn from: true ones, and ones with an error by name."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle

import numpy as np
import torch
from scenes.grammar import caption
from scenes.parser import parse
from scenes.scene import Scene
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from dico.captioner import CaptionerConfig, pad_captions
from dico.pretraining.bank import bank_scene
from dico.pretraining.corruptions import ERRORS, Corruptor, Error
from dico.tokenizer import Tokenizer

# Corrupted captions of each picture, every one with another error.
CORRUPTED = 3
# How eagerly each error is drawn; relation and colour are offered by a third of the captions.
ERROR_WEIGHTS: dict[Error, float] = {
    "kind": 1.5,
    "count": 3.0,
    "colour": 4.0,
    "size": 2.0,
    "background": 1.5,
    "relation": 8.0,
    "order": 2.0,
    "repetition": 1.2,
    "doubled": 0.8,
    "cut": 0.8,
}
# A caption with a thing said twice is longer than any that the captioner writes.
MAX_TOKENS = 48


def evaluator_tokens(tokenizer: Tokenizer, texts: list[str]) -> Tensor:
    """Texts as the evaluator reads them, w1 .. wn EOS PAD .., [N, T]; what is too long is cut."""
    config = CaptionerConfig(vocab_size=tokenizer.vocab_size)
    return pad_captions([tokenizer.encode(text)[: MAX_TOKENS - 1] for text in texts], config)[1]


class TextStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows of the bank and, for each, fresh captions with fresh errors; endless.

    Yields rows [B] and tokens [B * (2 + CORRUPTED), T], w1 .. wn EOS PAD ..; each row's two
    captions come first, then the corruptions of the first of them.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, count: int, batch: int, seed: int, step: int
    ) -> None:
        """Args: count: rows to draw from; batch: B; seed, step: where in the stream to begin."""
        self._tokenizer, self._count, self._batch = tokenizer, count, batch
        self._seed, self._step = seed, step

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        step = self._step
        while True:
            generator = np.random.default_rng((self._seed, step))
            rows = np.sort(generator.choice(self._count, self._batch, replace=False))
            texts = [text for row in rows.tolist() for text in self._texts(row, step)]
            yield torch.from_numpy(rows), evaluator_tokens(self._tokenizer, texts)
            step += 1

    def _texts(self, row: int, step: int) -> list[str]:
        scene, rng = bank_scene(row), random.Random(f"{self._seed}/{step}/{row}")
        first, second = relational_caption(scene, rng, tries=2), caption(scene, rng)
        return [first, second, *corruptions(Corruptor(scene, first), rng)]


def corruptions(corruptor: Corruptor, rng: random.Random) -> list[str]:
    """As many corruptions as `CORRUPTED`, of different errors where the caption offers as many."""
    # Weighted drawing without replacement (Efraimidis, Spirakis 2006).
    order = sorted(ERRORS, key=lambda error: -(rng.random() ** (1 / ERROR_WEIGHTS[error])))
    texts: list[str] = []
    for error in cycle(order):  # every caption names a kind, and that can be wrong
        text = corruptor.corrupted(error, rng.getrandbits(32))
        if text is not None:
            texts.append(text)
        if len(texts) == CORRUPTED:
            break
    return texts


class RelationStream(IterableDataset[tuple[Tensor, Tensor]]):
    """Rows of scenes with two groups or more, captions that say how they lie if any of four does.

    Endless; yields rows [B], ascending, and tokens [B, T], w1 .. wn EOS PAD ...
    """

    def __init__(self, tokenizer: Tokenizer, *, count: int, batch: int, seed: int) -> None:
        """Args: count: rows to draw from; batch: B; seed: of rows and captions."""
        self._tokenizer, self._count, self._batch = tokenizer, count, batch
        self._rng = random.Random(f"relations/{seed}")

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            rows: list[int] = []
            while len(rows) < self._batch:
                row = self._rng.randrange(self._count)
                if len(bank_scene(row).groups) > 1:
                    rows.append(row)
            rows.sort()
            texts = [relational_caption(bank_scene(row), self._rng, tries=4) for row in rows]
            yield torch.tensor(rows), evaluator_tokens(self._tokenizer, texts)


def relational_caption(scene: Scene, rng: random.Random, *, tries: int) -> str:
    """A person's caption that says how things lie, if any of so many does."""
    texts = [caption(scene, rng) for _ in range(tries)]
    return next((text for text in texts if _says_relation(text)), texts[0])


def _says_relation(text: str) -> bool:
    parsed = parse(text)
    return parsed is not None and bool(parsed.relations)


def batches_of(
    stream: IterableDataset[tuple[Tensor, Tensor]],
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """What the stream yields, made by another process while this one trains."""
    for rows, tokens in DataLoader(stream, None, num_workers=1, prefetch_factor=4):
        yield rows.numpy(), tokens
