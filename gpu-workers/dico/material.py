"""What a job learns from: rated images with their tower features, candidates and thumbs."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker, Candidates
from dico.data_set import RatedImage
from dico.parallel import spread
from dico.pixels import ImageError, load_pixels
from dico.preferences import caption_features
from dico.screening import Thumb

# Images whose candidates are drawn together.
AT_ONCE = 8


@dataclass(frozen=True)
class Picture:
    """A rated image as training needs it.

    Attributes:
        image: As the data set has it.
        features: Of the tower, [1, S, F].
        candidates: Drawn from the reference, with the captions that were rated and corrections.
        thumbs: The usable ones; a correction counts as a thumbs-up on itself.
        corrections: What people wrote instead.
    """

    image: RatedImage
    features: Tensor
    candidates: Candidates
    thumbs: tuple[Thumb, ...]
    corrections: frozenset[tuple[int, ...]]

    def rows_of_thumbs(self) -> list[int]:
        """For each thumb, its caption's place among the candidates."""
        return [self.candidates.tokens.index(thumb.tokens) for thumb in self.thumbs]


@dataclass(frozen=True)
class Material:
    """All that was usable, in the order of the data set, and what was not, by reason."""

    pictures: list[Picture]
    dropped: dict[str, int]

    def side(self, split: str) -> list[Picture]:
        """The pictures of one side of the split, "train" or "held_out"."""
        return [picture for picture in self.pictures if picture.image.split == split]


def read_features(folder: Path, images: list[RatedImage], base: BaseVersion) -> dict[str, Tensor]:
    """Tower features by image digest, cached in the job's folder by tower and image digest.

    An image that cannot be read has none.
    """
    cache = folder / "checkpoint" / "features" / base.tower_sha256[:16]
    cache.mkdir(parents=True, exist_ok=True)
    features: dict[str, Tensor] = {}
    for image in images:
        path = cache / f"{image.sha256}.pt"
        if path.exists():
            features[image.sha256] = torch.load(path, weights_only=True)
            continue
        try:
            pixels = load_pixels((folder / "images" / image.sha256).read_bytes(), base.image_size)
        except ImageError:
            continue
        with torch.no_grad():
            found = base.tower(torch.from_numpy(pixels)[None].to(base.device)).cpu()
        partial = path.with_suffix(".partial")
        torch.save(found, partial)
        os.replace(partial, path)
        features[image.sha256] = found
    return features


def gather(
    images: list[RatedImage],
    features: dict[str, Tensor],
    base: BaseVersion,
    maker: CandidateMaker,
    seed: int,
    on_drawn: Callable[[int, int], None] = lambda done, total: None,
) -> Material:
    """Draws the candidates of each readable image and joins the thumbs to them.

    Args:
        images: Of the data set.
        features: Of those that could be read, by digest, [1, S, F] each.
        base: The reference and its tokenizer.
        maker: Draws and scores.
        seed: Of the candidates that are sampled; an image's do not depend on the others.
        on_drawn: Told how many images are done, of how many.
    """
    readable = [image for image in images if image.sha256 in features]
    chunks = [readable[start : start + AT_ONCE] for start in range(0, len(readable), AT_ONCE)]

    def draw(chunk: list[RatedImage]) -> list[Candidates]:
        seen = torch.cat([features[image.sha256] for image in chunk]).to(base.device)
        return maker.make(seen, [_generator(seed, image) for image in chunk])

    dropped = Counter({"unreadable image": len(images) - len(readable)})
    pictures: list[Picture] = []
    for chunk, candidates in zip(chunks, spread(draw, chunks, base.device), strict=True):
        for image, own in zip(chunk, candidates, strict=True):
            seen = features[image.sha256]
            pictures.append(join_thumbs(len(pictures), image, seen, own, base, maker, dropped))
        on_drawn(len(pictures), len(readable))
    return Material(pictures, {reason: count for reason, count in dropped.items() if count})


def join_thumbs(
    index: int,
    image: RatedImage,
    features: Tensor,
    candidates: Candidates,
    base: BaseVersion,
    maker: CandidateMaker,
    dropped: Counter[str],
) -> Picture:
    """One image with its thumbs; captions that were rated or written join its candidates.

    Args:
        index: Of the image among those of the job.
        image: Of the data set.
        features: Of the tower, [1, S, F].
        candidates: Drawn from the reference.
        base: Whose tokenizer reads the captions.
        maker: Scores captions that are not among the candidates yet.
        dropped: Counts what is left out, by reason; added to.
    """
    longest = base.captioner.config.max_tokens - 2
    thumbs: list[Thumb] = []
    corrections: set[tuple[int, ...]] = set()
    for rating in image.ratings:
        said = [(_ids(base, rating.caption), rating.is_up)]
        if rating.correction:
            said.append((_ids(base, rating.correction), True))
        for number, (ids, is_up) in enumerate(said):
            if not 0 < len(ids) <= longest:
                dropped["caption empty or too long"] += 1
                continue
            thumbs.append(Thumb(index, ids, is_up, rating.end_user))
            if number == 1:
                corrections.add(ids)
    extra = [t.tokens for t in thumbs if t.tokens not in candidates.tokens]
    if extra:
        scored = maker.score(
            features.to(base.device), list(dict.fromkeys(extra)), candidates.top_logp
        )
        candidates = candidates.with_more(scored)
    return Picture(image, features, candidates, tuple(thumbs), frozenset(corrections))


def features_of(base: BaseVersion, candidates: Candidates) -> Tensor:
    """What the preference model sees of each candidate, [K, F]."""
    texts = [base.tokenizer.decode(tokens) for tokens in candidates.tokens]
    ids = torch.tensor([token for tokens in candidates.tokens for token in tokens])
    with torch.no_grad():
        said = base.captioner.token_embedding(ids.to(base.device)).cpu()
    embeddings = said.split([len(tokens) for tokens in candidates.tokens])
    return caption_features(texts, embeddings, candidates.states, candidates.scores)


def _generator(seed: int, image: RatedImage) -> torch.Generator:
    digest = hashlib.sha256(f"{seed}/{image.sha256}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:6], "big"))


def _ids(base: BaseVersion, caption: str) -> tuple[int, ...]:
    return tuple(base.tokenizer.encode(" ".join(caption.split())))
