"""Writes a tiny signed version that knows some drawings by heart, for tests that need a real one.

The same seed gives the same captions on the same kind of machine. With --parent it keeps that
version's encoder, byte for byte, and names it in its lineage.

    PYTHONPATH=gpu-workers python scripts/make-test-version.py --seed 1 --out FOLDER --key KEY.json
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import torch
from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps
from dico.export.layout import PublishedVersion, write_version
from dico.export.manifest import Lineage, public_key, read_version, sha256_hex
from dico.export.training_state import load_training_state
from dico.pixels import load_pixels
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig
from PIL import Image, ImageDraw

IMAGE_SIZE = 32
WORDS = "a an the two three cat dog bird boat tree ball house in on of sea red blue green with and"
ENCODER_PARTS = ("projection", "encoder_")
DRAWINGS, STEPS = 24, 120


def tiny_tower(seed: int) -> Tower:
    """An untrained tower; its features differ between images, which is all that is asked of it."""
    torch.manual_seed(seed)
    tower = Tower(TowerConfig(image_size=IMAGE_SIZE, widths=(8, 8, 16, 16), num_kinds=5))
    with torch.no_grad():
        tower.kind_head.weight.mul_(4)
        for _ in range(50):  # lets the normalisations see what drawings look like
            tower(torch.from_numpy(drawn_pixels(0, DRAWINGS)))
    return tower.eval()


def tiny_captioner(seed: int, tower: Tower, tokenizer: Tokenizer) -> Captioner:
    """An untrained captioner for that tower."""
    torch.manual_seed(seed)
    captioner = Captioner(
        CaptionerConfig(
            feature_width=tower.config.feature_width,
            feature_tokens=tower.config.cells**2,
            width=16,
            heads=2,
            encoder_layers=1,
            encoder_ffn=32,
            decoder_layers=2,
            decoder_ffn=32,
            vocab_size=tokenizer.vocab_size,
        )
    )
    with torch.no_grad():
        captioner.projection.weight.mul_(4)
    return captioner


def teach(
    captioner: Captioner, tower: Tower, tokenizer: Tokenizer, seed: int, *, decoder_only: bool
) -> None:
    """Teaches random captions of 1 to 7 words for a few drawings, so that lengths vary."""
    generator = np.random.default_rng(seed)
    words = WORDS.split()
    captions = [
        tokenizer.encode(" ".join(generator.choice(words, generator.integers(1, 8))))
        for _ in range(DRAWINGS)
    ]
    input_ids, labels = pad_captions(captions, captioner.config)
    with torch.no_grad():
        features = tower.eval()(torch.from_numpy(drawn_pixels(0, DRAWINGS)))
    for name, parameter in captioner.named_parameters():
        parameter.requires_grad_(not (decoder_only and name.startswith(ENCODER_PARTS)))
    trained = [parameter for parameter in captioner.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-2)
    for _ in range(STEPS):
        logps = token_logps(captioner(features, input_ids), labels, captioner.config.pad_id)
        optimiser.zero_grad()
        (-logps.sum() / DRAWINGS).backward()
        optimiser.step()


def drawn_pixels(first: int, count: int) -> np.ndarray:
    """pixel_values of some drawings, [count, 3, side, side]."""
    images = (drawing(seed) for seed in range(first, first + count))
    return np.stack([load_pixels(image, IMAGE_SIZE) for image in images])


def drawing(seed: int) -> bytes:
    """A PNG of a few coloured shapes."""
    generator = np.random.default_rng(seed)
    image = Image.new("RGB", (64, 48), tuple(generator.integers(0, 256, 3).tolist()))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y, width, height = generator.integers(4, 40, 4).tolist()
        colour = tuple(generator.integers(0, 256, 3).tolist())
        draw.ellipse((x, y, x + width, y + height), fill=colour)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def make_version(
    folder: Path, *, seed: int, signing_seed: str, parent: Path | None
) -> PublishedVersion:
    """Writes the version and reads it back."""
    tokenizer = Tokenizer.train([WORDS] * 4, vocab_size=320)
    tower = tiny_tower(seed)
    captioner = tiny_captioner(seed, tower, tokenizer)
    keys = [public_key(signing_seed)]
    lineage = Lineage()
    if parent:
        read_version(parent, keys)
        tower, first = load_training_state(parent)
        shared = {k: v for k, v in first.state_dict().items() if k.startswith(ENCODER_PARTS)}
        captioner.load_state_dict(captioner.state_dict() | shared)
        digest = sha256_hex((parent / "manifest.json").read_bytes())
        lineage = Lineage(
            base_manifest_sha256=digest,
            parent=digest,
            job_id=f"ftjob-tiny{seed:08d}",
            dataset_sha256=hashlib.sha256(b"no data set").hexdigest(),
        )
    teach(captioner, tower, tokenizer, seed, decoder_only=parent is not None)
    version = write_version(
        folder,
        tower,
        captioner,
        tokenizer.to_json().encode(),
        model="scenes",
        probe_images=[drawing(i) for i in range(8)],
        parity_pixels=drawn_pixels(0, 64),
        signing_seed=signing_seed,
        lineage=lineage,
        training={"seed": seed},
        with_training_state=True,
    )
    read_version(folder, keys)
    return version


def main() -> None:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--key", type=Path, required=True, help="written if it does not exist")
    parser.add_argument("--parent", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.key.exists():
        seed = base64.b64encode(hashlib.sha256(b"dico test key, signs nothing real").digest())
        pair = {"public_key": public_key(seed.decode()), "seed": seed.decode()}
        note = "A test key: everyone knows its seed, so nothing may trust it."
        arguments.key.write_text(json.dumps({"note": note, **pair}, indent=2) + "\n")
    signing_seed = json.loads(arguments.key.read_text())["seed"]
    version = make_version(
        arguments.out, seed=arguments.seed, signing_seed=signing_seed, parent=arguments.parent
    )
    print(version.version_id, version.manifest.parity, version.manifest.probe.expected_caption)


if __name__ == "__main__":
    main()
