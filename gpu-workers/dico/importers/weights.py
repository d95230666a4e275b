"""Checkpoint files as tensors: read without running anything that they contain.

Files come from outside: their size, digest and every key and shape are checked, and each refusal
is one sentence that names what is wrong.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

MAX_WEIGHTS_BYTES = 8_000_000_000
MAX_PARAMETERS = 2_000_000_000
MAX_JSON_BYTES = 20_000_000
INDEX = "model.safetensors.index.json"

# What state dicts of training scripts are wrapped in, and the prefix of data-parallel ones.
_WRAPPERS = ("state_dict", "model_state_dict")
_PARALLEL = "module."


class CheckpointError(ValueError):
    """A file is not the checkpoint that it should be; the message is one sentence."""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a small file.

    Raises:
        CheckpointError: Missing, too large, or something else.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise CheckpointError(f"{path.name} is larger than {MAX_JSON_BYTES} bytes")
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path.name} is not JSON") from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return values


def weight_files(path: Path) -> list[Path]:
    """The files that hold the weights of a checkpoint, a file or a folder.

    Raises:
        CheckpointError: There is none.
    """
    if path.is_file():
        return [path]
    if (path / INDEX).is_file():
        names = set(map(str, read_json(path / INDEX).get("weight_map", {}).values()))
        if not names or any(not re.fullmatch(r"[\w.-]+\.safetensors", name) for name in names):
            raise CheckpointError(f"{INDEX} does not name its files")
        return [path / name for name in sorted(names)]
    for name in ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin"):
        if (path / name).is_file():
            return [path / name]
    raise CheckpointError(f"{path} is neither a checkpoint nor a folder with one")


def read_weights(path: Path, sha256: str | None = None, limit: int = MAX_WEIGHTS_BYTES) -> Weights:
    """Reads every tensor of a checkpoint.

    Args:
        path: A file, or a folder of Hugging Face's layout.
        sha256: What its one file has to have as digest.
        limit: Bytes that its files may have together.

    Raises:
        CheckpointError: Unreadable, too large, of another digest, or with more than tensors in it.
    """
    files = weight_files(path)
    try:
        size = sum(file.stat().st_size for file in files)
    except OSError as error:
        raise CheckpointError(f"{path} lacks one of its files of weights") from error
    if size > limit:
        raise CheckpointError(f"{path.name} has {size} bytes, more than the limit of {limit}")
    if sha256 is not None:
        _check_digest(files, sha256)
    tensors: dict[str, Tensor] = {}
    for file in files:
        tensors |= _read_file(file)
    if sum(tensor.numel() for tensor in tensors.values()) > MAX_PARAMETERS:
        raise CheckpointError(f"{path.name} holds more than {MAX_PARAMETERS} values")
    return Weights(tensors, path.name)


def _check_digest(files: list[Path], sha256: str) -> None:
    if len(files) > 1:
        raise CheckpointError("a digest belongs to one file, and these weights are in several")
    with files[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise CheckpointError(f"{files[0].name} has the SHA-256 {found}, not {sha256.lower()}")


def _read_file(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path.name} is no readable safetensors file") from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)|class \W?([\w.]+)", str(error))
        what = next((group for group in found.groups() if group), "") if found else ""
        reason = f"refers to {what}" if what else "is damaged or holds objects"
        raise CheckpointError(
            f"{path.name} {reason}: only plain tensors are read, nothing is run"
        ) from error
    except Exception as error:  # PyTorch raises whatever its readers do
        what = "a TorchScript archive, which holds code: save its state_dict"
        if "TorchScript" not in str(error):
            what = "not a checkpoint"
        raise CheckpointError(f"{path.name} is {what}") from error
    return _state_dict(content, path.name)


def _state_dict(content: object, name: str) -> dict[str, Tensor]:
    """The tensors of a state dict, taken out of what training scripts wrap it in."""
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"{name} holds no state dict")
    tensors: dict[str, Tensor] = {}
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{name} has under the key {str(key)[:80]!r} no tensor")
        tensors[key] = value
    if all(key.startswith(_PARALLEL) for key in tensors):
        tensors = {key.removeprefix(_PARALLEL): value for key, value in tensors.items()}
    return tensors


class Weights:
    """The tensors of a checkpoint; each is taken once, and none may be left."""

    def __init__(self, tensors: dict[str, Tensor], name: str) -> None:
        self._tensors = dict(tensors)
        self.name = name

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and not yet taken."""
        return key in self._tensors

    def keys(self) -> list[str]:
        """Those not yet taken."""
        return list(self._tensors)

    def begin_with(self, prefix: str) -> bool:
        """Whether some key begins so."""
        return any(key.startswith(prefix) for key in self._tensors)

    def shape(self, key: str, axes: int) -> list[int]:
        """The sizes of a tensor of so many axes.

        Raises:
            CheckpointError: It is missing, or has another number of axes.
        """
        if key not in self._tensors:
            raise CheckpointError(f"{self.name} lacks the key {key!r}")
        shape = list(self._tensors[key].shape)
        if len(shape) != axes or 0 in shape:
            raise CheckpointError(f"{self.name} has {key!r} of shape {shape}, not of {axes} axes")
        return shape

    def take(self, key: str, *shape: int) -> Tensor:
        """One tensor as float32; it is gone afterwards.

        Raises:
            CheckpointError: Missing, of another shape, not of numbers, or not finite.
        """
        if key not in self._tensors:
            raise CheckpointError(f"{self.name} lacks the key {key!r}")
        tensor = self._tensors.pop(key)
        if tuple(tensor.shape) != shape:
            found = list(tensor.shape)
            raise CheckpointError(f"{self.name} has {key!r} of shape {found}, not {list(shape)}")
        if not tensor.is_floating_point():
            raise CheckpointError(f"{self.name} has {key!r} of type {tensor.dtype}, not of floats")
        tensor = tensor.float()
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{self.name} has in {key!r} a value that is not finite")
        return tensor

    def rename(self, old: str, new: str) -> None:
        """Gives a tensor, if it is there, another key."""
        if old in self._tensors:
            self._tensors[new] = self._tensors.pop(old)

    def add(self, key: str, update: Tensor) -> None:
        """Adds to a tensor in place.

        Raises:
            CheckpointError: It is of another shape than the update.
        """
        shape = tuple(update.shape)
        if tuple(self._tensors[key].shape) != shape:
            raise CheckpointError(f"{self.name} has an update of {key!r} that does not fit it")
        self._tensors[key] = self._tensors[key].float() + update

    def drop(self, pattern: str) -> int:
        """Forgets what nothing uses; returns how many keys matched the whole pattern."""
        matched = [key for key in self._tensors if re.fullmatch(pattern, key)]
        for key in matched:
            del self._tensors[key]
        return len(matched)

    def finish(self) -> None:
        """Makes sure that everything was understood.

        Raises:
            CheckpointError: A key was not taken.
        """
        if self._tensors:
            more = f" and {len(self._tensors) - 1} more" if len(self._tensors) > 1 else ""
            first = min(self._tensors)
            raise CheckpointError(f"{self.name} has an odd key {first[:120]!r}{more}")

    def linear(self, key: str, inputs: int, outputs: int) -> Part:
        """Weight [out, in] and bias of a linear layer."""
        weight = self.take(f"{key}.weight", outputs, inputs)
        return {"weight": weight, "bias": self.take(f"{key}.bias", outputs)}

    def conv1d(self, key: str, inputs: int, outputs: int) -> Part:
        """The same of GPT-2's Conv1D, whose weight is [in, out]."""
        weight = self.take(f"{key}.weight", inputs, outputs).T.contiguous()
        return {"weight": weight, "bias": self.take(f"{key}.bias", outputs)}

    def norm(self, key: str, width: int) -> Part:
        """Weight and bias of a normalisation."""
        return {name: self.take(f"{key}.{name}", width) for name in ("weight", "bias")}

    def joined(self, keys: list[str], inputs: int, outputs: int) -> Part:
        """Linear layers of one input as one layer: queries, keys and values."""
        parts = [self.linear(key, inputs, outputs) for key in keys]
        return {name: torch.cat([part[name] for part in parts]) for name in ("weight", "bias")}


Part = dict[str, Tensor]


def under(prefix: str, part: Part) -> Part:
    """The same tensors, their names behind a prefix."""
    return {f"{prefix}.{name}": value for name, value in part.items()}


def fill(module: nn.Module, tensors: Part) -> None:
    """Fills a module made for exactly these tensors, and makes it ready to use."""
    module.load_state_dict(tensors)
    module.eval().requires_grad_(False)
