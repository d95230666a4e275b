"""Public tokenizers into the one form that versions carry: `tokenizer.json`.

Byte-level BPE (GPT-2's and CLIP's) and WordPiece (BERT's). Start, end and padding get the names
that `dico.tokenizer` looks for; ids that the vocabulary has and the tokenizer does not know are
special, so that no text shows them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from dico.importers.weights import MAX_JSON_BYTES, CheckpointError, read_json
from dico.tokenizer import BOS, EOS, PAD

WORD_END = "</w>"
# CLIP's words: contractions, letters, one digit at a time, everything else.
_CLIP_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def find_tokenizer(place: Path) -> dict[str, Any] | None:
    """The content of a tokenizer.json, made from other files where there is none.

    Args:
        place: A tokenizer.json, a folder with one, or with vocab.json and merges.txt, or with
            vocab.txt.

    Returns:
        None where a folder holds no tokenizer.

    Raises:
        CheckpointError: A file is not what its name says.
    """
    if place.is_file():
        return read_json(place)
    if (place / "tokenizer.json").is_file():
        return read_json(place / "tokenizer.json")
    if (place / "vocab.json").is_file() and (place / "merges.txt").is_file():
        return _byte_level(read_json(place / "vocab.json"), _lines(place / "merges.txt"))
    if (place / "vocab.txt").is_file():
        return _word_piece(_lines(place / "vocab.txt"))
    return None


def publish_tokenizer(
    source: dict[str, Any], vocab_size: int, bos_id: int, eos_id: int, pad_id: int
) -> dict[str, Any]:
    """A tokenizer.json for a vocabulary, its three special ids under our names.

    Args:
        source: From `find_tokenizer`; not changed.
        vocab_size: Rows of the captioner's vocabulary.
        bos_id: Start; may lie behind the tokenizer's own ids.
        eos_id: End.
        pad_id: Padding.

    Raises:
        CheckpointError: The tokenizer is of another kind, or does not fit the vocabulary.
    """
    result = json.loads(json.dumps(source))
    kind, vocab = _model(result)
    added = result.get("added_tokens") or []
    texts = {token_id: text for text, token_id in vocab.items()}
    try:
        texts |= {token["id"]: token["content"] for token in added}
    except (TypeError, KeyError) as error:
        raise CheckpointError("the tokenizer's added_tokens have no id or content") from error
    known = len(texts)
    if sorted(texts) != list(range(known)) or known > vocab_size:
        raise CheckpointError(f"the tokenizer's {known} ids are not those of {vocab_size} rows")
    names = {bos_id: BOS, eos_id: EOS, pad_id: PAD}
    taken = {text: token_id for token_id, text in texts.items()}
    specials = {token["id"] for token in added if token.get("special") is True}
    specials |= names.keys() | set(range(known, vocab_size))
    for token_id, name in names.items():
        if taken.get(name, token_id) != token_id:
            raise CheckpointError(f"the tokenizer has {name!r} under the id {taken[name]}")
    for token_id in sorted(specials):
        own = texts.get(token_id, f"<unused-{token_id}>")
        name = names.get(token_id, own)
        if own in vocab and name != own:
            vocab[name] = vocab.pop(own)
        texts[token_id] = name
    result["model"]["vocab"] = dict(sorted(vocab.items(), key=lambda item: item[1]))
    rest = [token for token in added if token["id"] not in specials]
    result["added_tokens"] = sorted(
        rest + [_special(token_id, texts[token_id]) for token_id in specials],
        key=lambda token: token["id"],
    )
    result |= {"truncation": None, "padding": None, "post_processor": None}
    if kind == "WordPiece":
        result["decoder"] = {"type": "WordPiece", "prefix": "##", "cleanup": True}
    elif is_clip(result):
        result["decoder"] = _decoder_json(_clip_decoder())
    else:
        result["decoder"] = _decoder_json(decoders.ByteLevel())
        result["normalizer"] = None
    _check(result, vocab_size)
    return result


def is_clip(source: dict[str, Any]) -> bool:
    """Whether words end in a mark, as CLIP's do."""
    return source.get("model", {}).get("end_of_word_suffix") == WORD_END


def _model(source: dict[str, Any]) -> tuple[str, dict[str, int]]:
    model = source.get("model")
    if not isinstance(model, dict):
        raise CheckpointError("the tokenizer has no model")
    vocab, kind = model.get("vocab"), model.get("type")
    if not isinstance(vocab, dict) or not all(type(i) is int for i in vocab.values()):
        raise CheckpointError("the tokenizer has no vocabulary of ids")
    if kind == "WordPiece" and model.get("continuing_subword_prefix", "##") == "##":
        return "WordPiece", vocab
    if kind == "BPE" and model.get("end_of_word_suffix") in (None, "", WORD_END):
        if "ByteLevel" in json.dumps(source.get("pre_tokenizer")):
            return "BPE", vocab
    raise CheckpointError(f"the tokenizer is {kind!r}; byte-level BPE or WordPiece is read")


def _special(token_id: int, content: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": token_id, "content": content, **flags, "special": True}


def _check(source: dict[str, Any], vocab_size: int) -> None:
    """Whether the tokenizers library reads it and gives every id the place that it should have."""
    try:
        tokenizer = Tokenizer.from_str(json.dumps(source))
        size = tokenizer.get_vocab_size()
        misplaced = [
            t for t in source["added_tokens"] if tokenizer.token_to_id(t["content"]) != t["id"]
        ]
    except Exception as error:  # the library raises nothing narrower
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(f"the tokenizer cannot be read: {reason}") from error
    if size != vocab_size or misplaced:
        raise CheckpointError(f"the tokenizer has {size} ids for {vocab_size} rows of vocabulary")


def _byte_level(vocab: dict[str, Any], lines: list[str]) -> dict[str, Any]:
    merges: list[tuple[str, str]] = []
    for line in lines:
        if line and not line.startswith("#version"):
            pair = line.split(" ")
            if len(pair) != 2:
                raise CheckpointError("merges.txt has a line that is no pair")
            merges.append((pair[0], pair[1]))
    clip = any(text.endswith(WORD_END) for text in vocab)
    suffix = {"end_of_word_suffix": WORD_END} if clip else {}
    try:
        model = models.BPE(vocab, merges, **suffix)
    except Exception as error:  # the library raises nothing narrower
        raise CheckpointError("vocab.json and merges.txt do not belong together") from error
    bpe = Tokenizer(model)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not clip)
    bpe.pre_tokenizer = byte_level
    if clip:
        bpe.normalizer = normalizers.Sequence(
            [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
        )
        words = pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True)
        bpe.pre_tokenizer = pre_tokenizers.Sequence([words, byte_level])
    return json.loads(bpe.to_str())


def _word_piece(lines: list[str]) -> dict[str, Any]:
    words = lines[:-1] if lines and not lines[-1] else lines
    vocab = {word: index for index, word in enumerate(words)}
    if len(vocab) != len(words) or "[UNK]" not in vocab:
        raise CheckpointError("vocab.txt has a word twice, or no [UNK]")
    pieces = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer()
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.add_special_tokens(
        [name for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]") if name in vocab]
    )
    return json.loads(pieces.to_str())


def _clip_decoder() -> decoders.Decoder:
    """Bytes to text, each word's mark to a space, and none at the end."""
    return decoders.Sequence(
        [decoders.ByteLevel(), decoders.Replace(WORD_END, " "), decoders.Strip(" ", 0, 1)]
    )


def _decoder_json(decoder: decoders.Decoder) -> dict[str, Any]:
    carrier = Tokenizer(models.BPE())
    carrier.decoder = decoder
    return json.loads(carrier.to_str())["decoder"]


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path.name} is larger than {MAX_JSON_BYTES} bytes")
        return path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path.name} is no readable text") from error
