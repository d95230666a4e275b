"""Reads what a checkpoint's config.json says, field by field; nobody else's code is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dico.importers.weights import CheckpointError, read_json
from dico.towers.vit import Activation

# Pixels of the checkpoints' own preprocessing, where no preprocessor_config.json says otherwise.
CLIP_PIXELS = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
IMAGENET_PIXELS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF_PIXELS = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Pixels = tuple[tuple[float, ...], tuple[float, ...]]


class Fields:
    """A JSON object with a name, whose fields are read with their type."""

    def __init__(self, values: dict[str, Any], name: str) -> None:
        self._values = values
        self._name = name

    @classmethod
    def read(cls, path: Path) -> Fields:
        """Of a file.

        Raises:
            CheckpointError: It is no JSON object.
        """
        return cls(read_json(path), path.name)

    def has(self, name: str) -> bool:
        """Whether there is an object of that name inside."""
        return isinstance(self._values.get(name), dict)

    def size(self, name: str, default: int | None = None) -> int:
        """A positive number, in which a model's sizes are given."""
        value = self._values.get(name)
        value = default if value is None else value
        if type(value) is not int or not 0 < value <= 10_000_000:
            raise CheckpointError(f"{self._name} has no positive number {name!r}")
        return value

    def token(self, *names: str, default: int | None = None) -> int | None:
        """The first of these token ids that is given."""
        for name in names:
            value = self._values.get(name)
            if type(value) is int and value >= 0:
                return value
        return default

    def number(self, name: str, default: float) -> float:
        """A number."""
        value = self._values.get(name, default)
        if type(value) not in (int, float):
            raise CheckpointError(f"{self._name} has under {name!r} no number")
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """A text; other values count as absent."""
        value = self._values.get(name)
        return value if isinstance(value, str) else default

    def part(self, name: str) -> Fields:
        """An object inside.

        Raises:
            CheckpointError: There is none of that name.
        """
        value = self._values.get(name)
        if not isinstance(value, dict):
            raise CheckpointError(f"{self._name} has no object {name!r}")
        return Fields(value, f"{self._name}: {name}")

    def expect(self, name: str, wanted: object, default: object = None) -> None:
        """Makes sure that a variant is the one which our modules compute.

        Raises:
            CheckpointError: It is another.
        """
        value = self._values.get(name, wanted if default is None else default)
        if value != wanted:
            raise CheckpointError(f"{self._name} has {name!r} {value!r}; only {wanted!r} is read")

    def activation(self, name: str, default: str) -> Activation:
        """The activation of a tower."""
        value = self.text(name, default)
        if value in ("gelu", "quick_gelu"):
            return value
        raise CheckpointError(f"{self._name} has {name!r} {value!r}; gelu or quick_gelu is read")


def read_pixels(folder: Path, default: Pixels) -> Pixels:
    """Mean and deviation from a folder's preprocessor_config.json.

    Raises:
        CheckpointError: They are not three numbers each, or a deviation is not positive.
    """
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return default
    values = read_json(path)
    if values.get("do_normalize") is False:
        return (0.0,) * 3, (1.0,) * 3
    mean, std = values.get("image_mean", default[0]), values.get("image_std", default[1])
    for numbers in (mean, std):
        if not isinstance(numbers, list | tuple) or not _are_numbers(numbers):
            raise CheckpointError(f"{path.name} needs three numbers in image_mean and image_std")
    if min(std) <= 0:
        raise CheckpointError(f"{path.name} has an image_std that is not positive")
    return tuple(mean), tuple(std)


def _are_numbers(values: list[object] | tuple[object, ...]) -> bool:
    return len(values) == 3 and all(type(value) in (int, float) for value in values)
