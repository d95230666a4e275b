"""An imported checkpoint to files of ours: a base version, or an evaluator with its tower."""

from __future__ import annotations

import io
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter
from safetensors.torch import save_file

from dico.base_version import EVALUATOR_TOKENIZER, EVALUATORS, file_sha256
from dico.evaluators.public_clip import PublicClip
from dico.evaluators.public_storage import save_public_clip
from dico.export.layout import ProbeError, PublishedVersion, write_version
from dico.export.parity import Generation
from dico.export.training_state import round_to_fp16
from dico.importers.captions import ImportedCaptioner
from dico.importers.checkpoints import STORED_CLIP
from dico.importers.tokenizers import is_clip, publish_tokenizer
from dico.importers.weights import CheckpointError
from dico.pixels import load_pixels

PROBES, PARITY_IMAGES = 16, 8
# One ONNX file holds at most 2 GB.
MAX_GRAPH_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Evaluator:
    """A CLIP, and its tokenizer where one was found beside it."""

    clip: PublicClip
    tokenizer: dict[str, Any] | None


def publish_captioner(
    folder: Path,
    imported: ImportedCaptioner,
    tokenizer: dict[str, Any],
    evaluator: Evaluator | None,
    *,
    model: str,
    signing_seed: str,
    origin: dict[str, str],
) -> PublishedVersion:
    """Writes a base version; its tower and captioner are rounded to fp16.

    Args:
        folder: Made if need be.
        imported: Mutated by the rounding.
        tokenizer: A tokenizer.json, whose special ids get our names.
        evaluator: What updates are rewarded by; without one the version captions only.
        model: The line of versions that it begins.
        signing_seed: Base64 of a 32-byte Ed25519 seed.
        origin: Facts about the checkpoint for the manifest.

    Raises:
        CheckpointError: Tokenizer, evaluator or weights do not fit a version.
    """
    config = imported.captioner.config
    ids = (config.bos_id, config.eos_id, config.pad_id)
    published = publish_tokenizer(tokenizer, config.vocab_size, *ids)
    sizes = [
        4 * sum(parameter.numel() for parameter in module.parameters())
        for module in (imported.tower, imported.captioner)
    ]
    if sum(sizes) > MAX_GRAPH_BYTES:
        raise CheckpointError("the captioner does not fit into ONNX files of 2 GB")
    digests: dict[str, str] = {}
    _clear(folder / EVALUATORS, folder / EVALUATOR_TOKENIZER)
    try:
        for module in (imported.tower, imported.captioner):
            round_to_fp16(module)
        if evaluator is not None:
            _save_evaluator(folder, imported, published, evaluator)
            digests["clip"] = file_sha256(folder / EVALUATORS)
        side = imported.tower.config.image_size
        probes = [_picture(seed) for seed in range(PROBES)]
        return write_version(
            folder,
            imported.tower,
            imported.captioner,
            json.dumps(published, ensure_ascii=False, indent=1).encode(),
            model=model,
            probe_images=probes,
            parity_pixels=np.stack([load_pixels(p, side) for p in probes[:PARITY_IMAGES]]),
            signing_seed=signing_seed,
            evaluators=digests,
            training={"imported": origin},
            generation=Generation(max_new_tokens=min(32, config.max_tokens - 1)),
            with_training_state=True,
        )
    except (ProbeError, ValueError) as error:
        raise CheckpointError(f"it cannot be published: {error}") from error


def publish_clip(folder: Path, clip: PublicClip, tokenizer: dict[str, Any] | None) -> str:
    """Writes an evaluator and, for other trainings, its vision tower alone.

    The folder gets evaluator.safetensors, tower.safetensors (keys `tower.*`), tower.json (its
    sizes) and tokenizer.json.

    Returns:
        The evaluator's digest.

    Raises:
        CheckpointError: A weight does not fit fp16, or the tokenizer is of another vocabulary.
    """
    text = clip.config.text
    published = tokenizer and publish_tokenizer(
        tokenizer, text.vocab_size + 1, text.bos_id, text.eos_id, text.vocab_size
    )
    folder.mkdir(parents=True, exist_ok=True)
    try:
        round_to_fp16(clip)
        save_public_clip(folder / STORED_CLIP, clip)
    except ValueError as error:
        raise CheckpointError(f"it cannot be stored: {error}") from error
    tower = {f"tower.{key}": value.half() for key, value in clip.vision.state_dict().items()}
    save_file(tower, folder / "tower.safetensors")
    sizes = {"type": "vit"} | asdict(clip.config.vision)
    (folder / "tower.json").write_text(json.dumps(sizes, indent=2) + "\n")
    if published:
        (folder / "tokenizer.json").write_text(json.dumps(published, ensure_ascii=False))
    return file_sha256(folder / STORED_CLIP)


def _save_evaluator(
    folder: Path, imported: ImportedCaptioner, published: dict[str, Any], evaluator: Evaluator
) -> None:
    """The evaluator's file, without the tower if that is the captioner's, and its tokenizer."""
    clip, tower = evaluator.clip, imported.tower
    round_to_fp16(clip)
    shares = clip.config.vision == tower.config and all(
        torch.equal(value, tower.state_dict()[name])
        for name, value in clip.vision.state_dict().items()
    )
    text, config = clip.config.text, imported.captioner.config
    own = evaluator.tokenizer and publish_tokenizer(
        evaluator.tokenizer, text.vocab_size + 1, text.bos_id, text.eos_id, text.vocab_size
    )
    same = (text.bos_id, text.eos_id) == (config.bos_id, config.eos_id)
    if own is None and not (same and is_clip(published)):
        raise CheckpointError(
            "the evaluator needs its tokenizer beside it: its ids are not the captioner's"
        )
    save_public_clip(folder / EVALUATORS, clip, with_vision=not shares)
    if own is not None and not (same and own["model"] == published["model"]):
        text_of_own = json.dumps(own, ensure_ascii=False)
        (folder / EVALUATOR_TOKENIZER).write_text(text_of_own)


def _clear(*paths: Path) -> None:
    """What an earlier import into the same folder left would become part of the version."""
    for path in paths:
        path.unlink(missing_ok=True)


def _picture(seed: int) -> bytes:
    """A PNG of soft and hard shapes in random colours: something for any captioner to look at."""
    generator = np.random.default_rng(seed)
    image = Image.fromarray(generator.integers(0, 256, (3, 4, 3), dtype=np.uint8))
    image = image.resize((320, 240), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(int(generator.integers(2, 7))):
        x, y, width, height = (int(value) for value in generator.integers(20, 220, 4))
        colour = tuple(int(value) for value in generator.integers(0, 256, 3))
        shape = draw.ellipse if generator.random() < 0.5 else draw.rectangle
        shape((x, y, x + width // 2, y + height // 2), fill=colour)
    stored = io.BytesIO()
    image.filter(ImageFilter.GaussianBlur(1)).save(stored, "PNG")
    return stored.getvalue()
