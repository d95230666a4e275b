"""WebDataset shards: tar files whose samples are an image and its captions, in and out.

A sample is `KEY.jpg` beside `KEY.json`, a list of captions, or `KEY.txt`, one caption. Shards come
from outside and are hostile until they are read: a member that is broken, huge, oddly named or not
a plain file costs its own sample and is counted, never the run. Members are read with the standard
library, because WebDataset reads each whole before anyone can ask for its size; WebDataset groups
them to samples and writes the shards.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from webdataset.tariterators import group_by_keys
from webdataset.writer import TarWriter

from dico.metrics.captioned_images import CaptionedImage
from dico.pixels import MAX_IMAGE_BYTES, ImageError, load_pixels

IMAGES = ("jpg", "jpeg", "png", "webp")
MAX_TEXT_BYTES = 100_000
MAX_CAPTIONS = 100
MAX_CAPTION_CHARACTERS = 4_000
# Relative, without empty, "." and ".." parts; everything else in a name is somebody's trick.
_SAFE_NAME = re.compile(r"(?!.*(^|/)\.{0,2}(/|$))[\w.\- /]{1,200}")


class ShardError(ValueError):
    """A folder holds no shards that can be trained on; the message is one sentence."""


@dataclass(frozen=True)
class Sample:
    """One image with what people say about it.

    Attributes:
        key: Its name in the shard.
        sha256: Digest of the image file, hexadecimal; names its cached features.
        image: The file's bytes, not yet decoded.
        captions: At least one, none blank.
    """

    key: str
    sha256: str
    image: bytes
    captions: tuple[str, ...]


def find_shards(folder: Path) -> list[Path]:
    """The tar files of a folder in the order of their names.

    Raises:
        ShardError: There is none.
    """
    found = sorted(path for path in folder.glob("*.tar") if path.is_file())
    if not found:
        raise ShardError(f"{folder} has no .tar shards")
    return found


def read_shard(path: Path, skipped: Counter[str]) -> Iterator[Sample | None]:
    """The samples of one shard in its order; None stands for one that is not usable.

    The same file gives the same sequence, so a position in it can be found again.

    Args:
        path: The tar file.
        skipped: Counts by reason what was left out; grown while the samples are read.
    """

    def refuse(error: Exception) -> bool:
        skipped["a member twice under one name"] += 1
        return True

    for group in group_by_keys(_members(path, skipped), handler=refuse):
        yield _sample(group, skipped)


def _members(path: Path, skipped: Counter[str]) -> Iterator[dict[str, Any]]:
    """Plain files of a sane size and name, as WebDataset's grouping wants them."""
    try:
        with tarfile.open(path, "r|") as archive:
            for member in archive:
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    skipped["a member that is not a plain file"] += 1
                elif not _SAFE_NAME.fullmatch(member.name):
                    skipped["a member with an unsafe name"] += 1
                elif member.size > _most_bytes(member.name):
                    skipped["a member that is too large"] += 1
                else:
                    file = archive.extractfile(member)
                    assert file is not None
                    yield {"fname": member.name, "data": file.read(), "__url__": path.name}
    except (tarfile.TarError, OSError, EOFError, ValueError):
        skipped["a shard that breaks off"] += 1


def _most_bytes(name: str) -> int:
    return MAX_IMAGE_BYTES if name.lower().endswith(IMAGES) else MAX_TEXT_BYTES


def _sample(group: dict[str, Any], skipped: Counter[str]) -> Sample | None:
    image = next((group[suffix] for suffix in IMAGES if suffix in group), None)
    if image is None:
        skipped["captions without an image"] += 1
        return None
    captions = _captions(group)
    if not captions:
        skipped["an image without readable captions"] += 1
        return None
    return Sample(group["__key__"], hashlib.sha256(image).hexdigest(), image, captions)


def _captions(group: dict[str, Any]) -> tuple[str, ...]:
    """Captions of the JSON member, else of the text member; none where that is not readable."""
    try:
        if "json" in group:
            told = json.loads(group["json"])
            texts = told.get("captions") if isinstance(told, dict) else told
        else:
            texts = [group["txt"].decode()] if "txt" in group else []
    except (ValueError, RecursionError):
        return ()
    if not isinstance(texts, list) or len(texts) > MAX_CAPTIONS:
        return ()
    if not all(isinstance(text, str) and len(text) <= MAX_CAPTION_CHARACTERS for text in texts):
        return ()
    return tuple(text.strip() for text in texts if text.strip())


def write_shards(
    images: list[CaptionedImage], out: Path, *, shards: int, skipped: Counter[str]
) -> int:
    """Writes captioned pictures to `shards` tar files of nearly equal size; the same ones always.

    The order is that of the pictures' digests: as good as random, and equal on every machine. A
    picture that is there twice is written once, with the captions of both.

    Args:
        images: Pictures and captions; files that are not readable images are counted and left out.
        out: Folder; made if need be, and it must hold no shards yet.
        shards: How many files, at most one for each picture.
        skipped: Counts by reason what was left out.

    Returns:
        Samples written.

    Raises:
        ShardError: The folder has shards, or too few pictures are usable for so many files.
    """
    out.mkdir(parents=True, exist_ok=True)
    if any(out.glob("*.tar")):
        raise ShardError(f"{out} has shards already")
    usable: dict[str, tuple[Path, list[str]]] = {}
    for image in images:
        digest = _digest_of_image(image.path, skipped)
        if digest is not None:
            usable.setdefault(digest, (image.path, []))[1].extend(image.human_captions)
    if len(usable) < shards:
        raise ShardError(f"{len(usable)} usable pictures do not fill {shards} shards")
    order = sorted(usable)
    for shard in range(shards):
        name = out / f"{shard:06d}.tar"
        partial = name.with_suffix(".partial")
        with partial.open("wb") as file:
            # Times and owners would make equal shards unequal.
            tar = TarWriter(file, mtime=0, user="", group="", compress=False)
            for digest in order[shard::shards]:
                tar.write(_members_of(digest, *usable[digest]))
            tar.close()
        os.replace(partial, name)
    return len(order)


def _members_of(digest: str, path: Path, captions: list[str]) -> dict[str, Any]:
    suffix = path.suffix.lower().lstrip(".")
    kept = list(dict.fromkeys(captions))[:MAX_CAPTIONS]
    return {
        "__key__": digest[:24],
        suffix if suffix in IMAGES else "jpg": path.read_bytes(),
        "json": json.dumps(kept).encode(),
    }


def _digest_of_image(path: Path, skipped: Counter[str]) -> str | None:
    """Digest of a file that decodes; None, and counted, otherwise."""
    try:
        data = path.read_bytes() if path.stat().st_size <= MAX_IMAGE_BYTES else b""
        load_pixels(data, side=32)
    except (OSError, ImageError):
        skipped["a file that is no readable image"] += 1
        return None
    return hashlib.sha256(data).hexdigest()
