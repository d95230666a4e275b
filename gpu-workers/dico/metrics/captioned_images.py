"""Folders of pictures that people captioned, in the three layouts that are about.

Files come from outside: they are hostile until they are read.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_JSON_BYTES = 500_000_000
MAX_CAPTION_CHARACTERS = 4_000
# The first that is there is read: `captions.json` has one of the first two layouts or COCO's.
NAMES = ("captions.json", "annotations.json")


class DataError(ValueError):
    """A folder is not one of captioned pictures; the text is one sentence for its owner."""


@dataclass(frozen=True)
class CaptionedImage:
    """One picture.

    Attributes:
        file: Its name in the captions file.
        path: Where it lies, inside the folder.
        human_captions: What people say, at least one, none blank.
        scene: What the captions file tells about it besides; None where nothing.
    """

    file: str
    path: Path
    human_captions: list[str]
    scene: object = None


@dataclass(frozen=True)
class CaptionedImages:
    """All of a folder, in its file's order; `sha256` is the captions file's digest."""

    images: list[CaptionedImage]
    sha256: str


def read_captioned_images(folder: Path, limit: int | None = None) -> CaptionedImages:
    """Reads the captions file of a folder; pictures are looked for, not opened.

    The layouts are {file: [captions]}; that of `python -m dico scenes`, {"pictures": [{"file",
    "captions", "scene"}]}; and COCO's, {"images": [{"id", "file_name"}], "annotations":
    [{"image_id", "caption"}]}, whose pictures may also lie in `images/`.

    Args:
        folder: Holds `captions.json` or `annotations.json`, and the pictures.
        limit: Pictures read at most, the first ones.

    Raises:
        DataError: There is no such file, it has another layout, or it names a picture that is
            missing, outside the folder or without a caption.
    """
    path = next((folder / name for name in NAMES if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder} has neither {NAMES[0]} nor {NAMES[1]}")
    text = _read(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON") from error
    rows = _rows(content, path)
    if not rows:
        raise DataError(f"{path} names no picture")
    images = [_image(folder, path, *row) for row in rows[:limit]]
    return CaptionedImages(images, hashlib.sha256(text).hexdigest())


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path} is larger than {MAX_JSON_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read") from error


def _rows(content: Any, path: Path) -> list[tuple[Any, Any, Any]]:
    """File, captions and what else is told, as they stand there."""
    try:
        match content:
            case {"images": list(images), "annotations": list(annotations)}:
                captions: dict[Any, list[Any]] = {image["id"]: [] for image in images}
                for each in annotations:
                    captions[each["image_id"]].append(each["caption"])
                return [(image["file_name"], captions[image["id"]], None) for image in images]
            case {"pictures": list(pictures)}:
                return [(each["file"], each["captions"], each.get("scene")) for each in pictures]
            case dict():
                return [(file, captions, None) for file, captions in content.items()]
            case _:
                raise DataError(f"{path} is neither a list of pictures nor COCO's annotations")
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} has an entry without file, captions or known image id") from error


def _image(folder: Path, path: Path, file: Any, captions: Any, scene: Any) -> CaptionedImage:
    if not isinstance(file, str) or not file or "\0" in file:
        raise DataError(f"{path} has a picture whose file is no name")
    if not isinstance(captions, list) or not captions:
        raise DataError(f"{path} has no list of captions for {file!r}")
    texts: list[str] = []
    for caption in captions:
        if not isinstance(caption, str) or not caption.strip():
            raise DataError(f"{path} has a caption of {file!r} that is no text")
        if len(caption) > MAX_CAPTION_CHARACTERS:
            raise DataError(f"{path} has a caption of {file!r} that is too long")
        texts.append(caption)
    return CaptionedImage(file, _inside(folder, path, file), texts, scene)


def _inside(folder: Path, path: Path, file: str) -> Path:
    root = folder.resolve()
    for place in (root / file, root / "images" / file):
        try:
            found = place.resolve()
            if not found.is_relative_to(root):
                raise DataError(f"{path} names {file!r}, which lies outside the folder")
            if found.is_file():
                return found
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path} names {file!r}, which cannot be looked up") from error
    raise DataError(f"{path} names {file!r}, which is not there")
