"""A version captions pictures: captions, evaluator embeddings, and samples for its drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dico.base_version import BaseVersion
from dico.metrics.captioned_images import CaptionedImage, DataError
from dico.metrics.drift import Estimate, log_ratio, sampled_kl
from dico.pixels import ImageError, load_pixels
from dico.scoring import score_sequences
from dico.search import beam_search, sample

BATCH = 16
BEAMS = 5
SAMPLES = 4
SEED = 0


@dataclass(frozen=True)
class Captioned:
    """What came of N pictures, in their order.

    Attributes:
        captions: The best of the beams of each.
        clip_images: Unit vectors of CLIP, [N, d].
        pac_images: The same of PAC.
        drift: Against the base: `kl` and `log_ratio` with their errors; empty without a base.
    """

    captions: list[str]
    clip_images: Tensor
    pac_images: Tensor
    drift: dict[str, Estimate]


@torch.no_grad()
def caption_images(
    version: BaseVersion,
    base: BaseVersion | None,
    images: Sequence[CaptionedImage],
    progress: Callable[[int], None],
) -> Captioned:
    """Captions every picture with 5 beams.

    Args:
        version: The captioner, and the evaluators.
        base: What drift is measured against, with the same tokenizer; None measures none.
        images: At least one.
        progress: Told how many pictures are done.

    Raises:
        DataError: A picture cannot be read.
    """
    generator = torch.Generator().manual_seed(SEED)
    captions: list[str] = []
    embedded: list[tuple[Tensor, Tensor]] = []
    logps: list[tuple[Tensor, Tensor]] = []
    base_logps: list[tuple[Tensor, Tensor]] = []
    for start in range(0, len(images), BATCH):
        batch = images[start : start + BATCH]
        features = _features(version, batch)
        hidden = version.captioner.encode(features)
        best = [list(found[0].tokens) for found in _search(version, hidden)]
        captions += [version.tokenizer.decode(tokens) for tokens in best]
        embedded.append((version.clip.embed_images(features), version.pac.embed_images(features)))
        if base is not None:
            same = base.tower_sha256 == version.tower_sha256
            theirs = base.captioner.encode(features if same else _features(base, batch))
            drawn = sample(
                version.captioner, hidden, samples=SAMPLES, generators=[generator] * len(hidden)
            )
            logps.append(_both(version, base, hidden, theirs, drawn))
            own = [list(found[0].tokens) for found in _search(base, theirs)]
            scored = [score_sequences(base.captioner, theirs, each).logps for each in (best, own)]
            base_logps.append((scored[0], scored[1]))
        progress(start + len(batch))
    clip_images, pac_images = (torch.cat(each) for each in zip(*embedded, strict=True))
    drift: dict[str, Estimate] = {}
    if base is not None:
        drift["kl"] = sampled_kl(*(torch.cat(each) for each in zip(*logps, strict=True)))
        drift["log_ratio"] = log_ratio(*(torch.cat(each) for each in zip(*base_logps, strict=True)))
    return Captioned(captions, clip_images, pac_images, drift)


def _features(version: BaseVersion, images: Sequence[CaptionedImage]) -> Tensor:
    pixels = np.stack([_pixels(image, version.image_size) for image in images])
    return version.tower(torch.from_numpy(pixels).to(version.device))


def _pixels(image: CaptionedImage, side: int) -> np.ndarray:
    try:
        return load_pixels(image.path.read_bytes(), side)
    except (ImageError, OSError) as error:
        raise DataError(f"{image.path} is no picture that can be read: {error}") from error


def _search(version: BaseVersion, hidden: Tensor) -> list:
    return beam_search(version.captioner, hidden, num_beams=BEAMS)


def _both(
    version: BaseVersion, base: BaseVersion, hidden: Tensor, theirs: Tensor, drawn: list
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the finished samples under both; cut ones have no probability."""
    tokens = [list(each.tokens) for own in drawn for each in own]
    finished = torch.tensor([each.finished for own in drawn for each in own], device=hidden.device)
    policy = score_sequences(version.captioner, hidden, tokens).logps
    reference = score_sequences(base.captioner, theirs, tokens).logps
    return policy[finished], reference[finished]
