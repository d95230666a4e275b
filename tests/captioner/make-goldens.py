"""Writes tests/fixtures/pixels: pictures in many formats, and what the Python side makes of them.

    PYTHONPATH=gpu-workers python tests/captioner/make-goldens.py

The tests hold the TypeScript captioner against these: pixels, tokens and texts.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import torch
from dico.export.training_state import load_training_state
from dico.pixels import load_pixels
from dico.search import beam_search
from PIL import Image
from tokenizers import Tokenizer as HfTokenizer

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/fixtures/pixels"
VERSION = ROOT / "tests/fixtures/tiny-version"
SIDE = 32
SIZES = [(32, 32), (33, 47), (100, 60), (7, 10), (1, 50), (90, 3), (64, 64), (31, 200)]


def drawing(width: int, height: int, seed: int) -> Image.Image:
    """Gradients with noise and an edge: everything that resampling is sensitive to."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    channels = [
        255 * x / max(width - 1, 1),
        255 * y / max(height - 1, 1),
        np.where((x + y) % 7 < 3, 230, 20),
    ]
    pixels = np.stack(channels, -1) + generator.normal(0, 12, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def pictures() -> dict[str, bytes]:
    """File names and contents."""
    files: dict[str, bytes] = {}

    def add(name: str, image: Image.Image, **options: object) -> None:
        stored = io.BytesIO()
        image.save(stored, name.rsplit(".", 1)[1].replace("jpg", "jpeg"), **options)
        files[name] = stored.getvalue()

    for number, (width, height) in enumerate(SIZES):
        add(f"rgb-{width}x{height}.png", drawing(width, height, number))
    base = drawing(60, 45, 99)
    alpha = Image.fromarray(np.mgrid[0:45, 0:60][1].astype(np.uint8) * 4)
    translucent = base.copy()
    translucent.putalpha(alpha)
    add("rgba.png", translucent)
    add("grey.png", base.convert("L"))
    grey_alpha = base.convert("LA")
    grey_alpha.putalpha(alpha)
    add("grey-alpha.png", grey_alpha)
    add("palette.png", base.convert("P", palette=Image.Palette.ADAPTIVE))
    add("bilevel.png", base.convert("1"))
    add("lossless.webp", base, lossless=True)
    add("lossless-alpha.webp", translucent, lossless=True, exact=True)
    add("baseline.jpg", base, quality=90)
    add("progressive.jpg", base, quality=90, progressive=True)
    add("grey.jpg", base.convert("L"), quality=90)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        add(f"turned-{orientation}.png", base, exif=exif)
    add("turned-6.jpg", base, quality=90, exif=_turned(6))
    return files


def _turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def main() -> None:
    """Writes pictures and goldens.json."""
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    tower, captioner = load_training_state(VERSION)
    images = []
    for name, data in pictures().items():
        (OUT / name).write_bytes(data)
        values = load_pixels(data, SIDE)
        pixels = np.rint((values * 0.5 + 0.5) * 255).astype(np.uint8).transpose(1, 2, 0)
        with torch.no_grad():
            states = captioner.encode(tower(torch.from_numpy(values)[None]))
            best = beam_search(captioner, states)[0][0]
        images.append(
            {
                "file": name,
                "pixels": base64.b64encode(pixels.tobytes()).decode(),
                "values_sha256": hashlib.sha256(values.tobytes()).hexdigest(),
                "tokens": list(best.tokens),
            }
        )
    texts = {}
    for version in ("tests/fixtures/tiny-version", "models/scenes-base"):
        tokenizer = HfTokenizer.from_file(str(ROOT / version / "tokenizer.json"))
        generator = np.random.default_rng(7)
        size = tokenizer.get_vocab_size()
        sequences = [[i] for i in range(size)]
        sequences += [generator.integers(0, size, 12).tolist() for _ in range(100)]
        captions = [
            "a red dog to the left of two cats",
            "  spaces  and\ttabs\n",
            "it's 42 cents, isn't it?",
            "naïve café – ĝis! 漢字 🙂👩‍🚀",
            "<s> </s> <pad>",
            "\u00a0\u2003\u200b\u0085x",
        ]
        texts[version] = {
            "decoded": [[ids, tokenizer.decode(ids)] for ids in sequences],
            "encoded": [[text, tokenizer.encode(text).ids] for text in captions],
        }
    goldens = {"side": SIDE, "images": images, "texts": texts}
    (OUT / "goldens.json").write_text(json.dumps(goldens, ensure_ascii=False))


if __name__ == "__main__":
    main()
