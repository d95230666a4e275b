"""A tiny training for tests: pictures in shards, a tokenizer, a configuration of every section."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

from dico.metrics.captioned_images import CaptionedImage
from dico.scale.shards import write_shards
from dico.tokenizer import Tokenizer
from PIL import Image

WORDS = ("red", "green", "blue", "round", "tall", "small")
CAPTIONS = [f"a {first} thing by a {second} one" for first in WORDS for second in WORDS]

CONFIG: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "precision": "fp32",
    "lanes": 4,
    "tower": {"type": "conv", "image_size": 32, "widths": [4, 4, 6, 8], "num_kinds": 3},
    "captioner": {
        "feature_width": 12, "feature_tokens": 4, "width": 16, "heads": 2, "encoder_layers": 1,
        "encoder_ffn": 16, "decoder_layers": 1, "decoder_ffn": 16, "vocab_size": 300,
        "max_tokens": 40, "bos_id": 0, "eos_id": 1, "pad_id": 2,
    },
    "evaluator": {
        "type": "scenes-clip",
        "feature_width": 12, "feature_tokens": 4, "width": 8, "heads": 2, "ffn": 8,
        "text_layers": 1, "text_reach": 3, "moments": 3, "vocab_size": 300, "max_tokens": 40,
        "bos_id": 0, "eos_id": 1, "pad_id": 2,
    },
    "adam": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0},
    "xe": {
        "batch": 8, "micro_batch": 8, "learning_rate": 0.01, "warm_up_share": 0.05,
        "max_steps": 40, "validate_every": 3,
    },
    "dico": {
        "batch": 8, "micro_batch": 8, "learning_rate": 0.001, "warm_up_share": 0,
        "max_steps": 40, "validate_every": 3,
    },
    "objective": {"beta": 0.2, "tau": 30, "num_beams": 3, "max_new_tokens": 6},
}  # fmt: skip

# The paper's kinds of parts: a Vision Transformer, and a CLIP that sees through it.
PUBLIC: dict[str, Any] = {
    "tower": {
        "type": "vit", "image_size": 32, "patch_size": 16, "width": 12, "layers": 2, "heads": 2,
        "ffn": 16, "activation": "quick_gelu", "class_token": True, "distillation_token": False,
        "pre_norm": True, "final_norm": False, "eps": 1e-5,
    },
    "captioner": {"feature_width": 12, "feature_tokens": 5, "vocab_size": 301, "pad_id": 300},
    "evaluator": {
        "type": "public-clip",
        "text": {
            "width": 8, "layers": 1, "heads": 2, "ffn": 8, "activation": "quick_gelu", "eps": 1e-5,
            "vocab_size": 300, "max_tokens": 20, "bos_id": 0, "eos_id": 1,
        },
        "embed_width": 8,
    },
}  # fmt: skip


def config(**changes: Any) -> dict[str, Any]:
    """The tiny configuration, changed key by key; a section with another type is replaced."""
    values = json.loads(json.dumps(CONFIG))
    for name, change in changes.items():
        merges = isinstance(change, dict) and "type" not in change
        values[name] = values[name] | change if merges else change
    return values


def jpeg(number: int) -> bytes:
    """A small picture that is like no other of its kind."""
    file = io.BytesIO()
    picture = Image.new("RGB", (40, 36), (number * 37 % 256, number * 91 % 256, number % 256))
    picture.paste((255, 255, 255), (number % 20, 4, number % 20 + 9, 20))
    picture.save(file, "JPEG", quality=95)
    return file.getvalue()


def make_shards(folder: Path, count: int, shards: int, first: int = 0) -> Path:
    """Shards of so many different pictures with two captions each."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    images = []
    for number in range(first, first + count):
        path = pictures / f"{number}.jpg"
        path.write_bytes(jpeg(number))
        captions = [CAPTIONS[number % len(CAPTIONS)], CAPTIONS[(number * 7 + 1) % len(CAPTIONS)]]
        images.append(CaptionedImage(path.name, path, captions))
    write_shards(images, folder / "shards", shards=shards, skipped=Counter())
    return folder / "shards"


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A shard of exactly these members, whatever they are called."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_tokenizer(path: Path) -> Path:
    """A tokenizer.json learnt from the captions."""
    path.write_text(Tokenizer.train(CAPTIONS, vocab_size=300).to_json())
    return path
