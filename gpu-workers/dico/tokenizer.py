"""Byte-level BPE in `tokenizer.json` form, the same file that the edge reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer as BpeTokenizer
from tokenizers import decoders, models, pre_tokenizers, trainers

BOS, EOS, PAD = "<s>", "</s>", "<pad>"


class Tokenizer:
    """Captions to token ids and back; ids 0, 1, 2 are BOS, EOS, PAD."""

    def __init__(self, bpe: BpeTokenizer) -> None:
        self._bpe = bpe
        self.bos_id, self.eos_id, self.pad_id = (_id_of(bpe, token) for token in (BOS, EOS, PAD))

    @classmethod
    def train(cls, captions: Iterable[str], vocab_size: int = 1024) -> Tokenizer:
        """Learns merges from captions; deterministic."""
        bpe = BpeTokenizer(models.BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[BOS, EOS, PAD],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(captions, trainer)
        return cls(bpe)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Reads a `tokenizer.json`.

        Raises:
            ValueError: The special tokens are missing.
        """
        return cls(BpeTokenizer.from_file(str(path)))

    @property
    def vocab_size(self) -> int:
        """Number of ids, special tokens included."""
        return self._bpe.get_vocab_size()

    def to_json(self) -> str:
        """The content of `tokenizer.json`."""
        return self._bpe.to_str(pretty=True)

    def encode(self, caption: str) -> list[int]:
        """Ids without special tokens."""
        return self._bpe.encode(caption, add_special_tokens=False).ids

    def decode(self, tokens: Iterable[int]) -> str:
        """Text of the ids, special tokens left out."""
        return self._bpe.decode(list(tokens), skip_special_tokens=True)


def _id_of(bpe: BpeTokenizer, token: str) -> int:
    token_id = bpe.token_to_id(token)
    if token_id is None:
        raise ValueError(f"tokenizer has no {token}")
    return token_id
