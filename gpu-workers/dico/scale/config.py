"""A training's sizes and recipe, read from one JSON file.

A file that leaves a size out, or says something that nobody reads, is refused: a forgotten number
would otherwise train for days with another one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dico.captioner import CaptionerConfig
from dico.evaluators.clip import ClipConfig
from dico.evaluators.public_clip import PublicClipConfig, TextConfig
from dico.scale.step import DicoSettings
from dico.tower import TowerConfig
from dico.towers.vit import VitConfig

MAX_CONFIG_BYTES = 100_000
Kind = TypeVar("Kind")


class ConfigError(ValueError):
    """The file does not describe a training; the message is one sentence that names the field."""


@dataclass(frozen=True)
class Recipe:
    """How one stage is optimised: Adam, linear warm-up, then a constant rate.

    Attributes:
        batch: Images of an optimiser step, over all devices.
        micro_batch: Images of one forward pass on one device; divides `batch`.
        learning_rate: After warm-up.
        warm_up_share: Part of `max_steps` that warms up, 0-1.
        max_steps: Optimiser steps of a whole training.
        validate_every: Steps from one validation to the next.
    """

    batch: int
    micro_batch: int
    learning_rate: float
    warm_up_share: float
    max_steps: int
    validate_every: int

    def __post_init__(self) -> None:
        """Refuses values that cannot be trained with."""
        if min(self.batch, self.micro_batch, self.max_steps, self.validate_every) < 1:
            raise ValueError("batch, micro_batch, max_steps and validate_every are at least 1")
        if self.batch % self.micro_batch:
            raise ValueError("micro_batch has to divide batch")
        if self.learning_rate <= 0 or not 0 <= self.warm_up_share <= 1:
            raise ValueError("learning_rate is positive and warm_up_share between 0 and 1")


@dataclass(frozen=True)
class Adam:
    """The optimiser's constants."""

    beta1: float
    beta2: float
    eps: float
    weight_decay: float

    def __post_init__(self) -> None:
        """Refuses values that Adam is not defined for."""
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1 and self.eps > 0):
            raise ValueError("beta1 and beta2 lie in [0, 1), eps above 0")
        if self.weight_decay < 0:
            raise ValueError("weight_decay is not negative")


@dataclass(frozen=True)
class SharedClip:
    """A public CLIP whose vision tower is the captioner's, so that cached features serve both."""

    text: TextConfig
    embed_width: int

    def whole(self, vision: VitConfig) -> PublicClipConfig:
        """With the tower's sizes."""
        return PublicClipConfig(vision, self.text, self.embed_width)


# What `type` says in the sections that have several kinds.
KINDS: dict[object, dict[str, type]] = {
    VitConfig | TowerConfig: {"vit": VitConfig, "conv": TowerConfig},
    SharedClip | ClipConfig: {"public-clip": SharedClip, "scenes-clip": ClipConfig},
}


@dataclass(frozen=True)
class TrainingConfig:
    """One training, both stages.

    Attributes:
        name: Of the configuration, for logs.
        seed: Decides initial weights and the order of the data.
        precision: Of the forward passes; weights, sums and rewards are fp32 in both.
        lanes: Parts that the shards are dealt into; the number of devices divides it. It decides
            the order of the data, the number of devices does not.
        tower: Frozen; its JSON carries `"type": "vit"` or `"conv"`.
        captioner: Trained.
        evaluator: Gives the rewards; its JSON carries `"type": "public-clip"` or `"scenes-clip"`.
        adam: Of both stages.
        xe: Cross-entropy.
        dico: DiCO from the best cross-entropy captioner.
        objective: Of the DiCO stage.
    """

    name: str
    seed: int
    precision: Literal["fp32", "bf16"]
    lanes: int
    tower: VitConfig | TowerConfig
    captioner: CaptionerConfig
    evaluator: SharedClip | ClipConfig
    adam: Adam
    xe: Recipe
    dico: Recipe
    objective: DicoSettings

    def __post_init__(self) -> None:
        """Refuses parts that do not fit together."""
        tokens = self.tower.cells**2 if isinstance(self.tower, TowerConfig) else (
            self.tower.feature_tokens
        )  # fmt: skip
        evaluator = self.evaluator
        text: TextConfig | ClipConfig
        reading: list[tuple[str, CaptionerConfig | ClipConfig]] = [("captioner", self.captioner)]
        if isinstance(evaluator, SharedClip):
            text = evaluator.text
            if not (isinstance(self.tower, VitConfig) and self.tower.class_token):
                raise ValueError("a public-clip evaluator needs a vit tower with class_token")
        else:
            text = evaluator
            reading.append(("evaluator", evaluator))
        for name, part in reading:
            if (part.feature_tokens, part.feature_width) != (tokens, self.tower.feature_width):
                raise ValueError(
                    f"the tower gives {tokens} x {self.tower.feature_width} features, which "
                    f"{name}.feature_tokens and {name}.feature_width have to say"
                )
        # Behind BOS; the evaluator's end comes behind that.
        for name, most in (("captioner", self.captioner.max_tokens), ("evaluator", self._reads)):
            if most < self.objective.max_new_tokens + 1:
                raise ValueError(
                    f"{name}.max_tokens is too small for captions of objective.max_new_tokens"
                )
        for name in ("bos_id", "eos_id"):
            if getattr(self.captioner, name) != getattr(text, name):
                raise ValueError(f"captioner and evaluator differ in {name}")
        pad = self.captioner.pad_id
        # The evaluator never looks PAD up, so it need not have it.
        words = self.captioner.vocab_size - (pad == self.captioner.vocab_size - 1)
        if text.vocab_size < words or getattr(text, "pad_id", pad) != pad:
            raise ValueError("the evaluator does not read the captioner's vocab_size and pad_id")
        special = {self.captioner.bos_id, self.captioner.eos_id, self.captioner.pad_id}
        if len(special) != 3 or not all(0 <= i < self.captioner.vocab_size for i in special):
            raise ValueError("bos_id, eos_id and pad_id are three ids of the vocabulary")
        if self.captioner.width % self.captioner.heads:
            raise ValueError("captioner.heads has to divide captioner.width")
        if self.lanes < 1:
            raise ValueError("lanes is at least 1")
        if self.objective.num_beams < 2 or self.objective.max_new_tokens < 1:
            raise ValueError("objective.num_beams is at least 2, max_new_tokens at least 1")
        if self.objective.beta <= 0 or self.objective.tau < 0:
            raise ValueError("objective.beta is positive and objective.tau not negative")

    @property
    def _reads(self) -> int:
        """Tokens that the evaluator reads at most, EOS included and BOS not."""
        if isinstance(self.evaluator, SharedClip):
            return self.evaluator.text.max_tokens - 1
        return self.evaluator.max_tokens


def load_config(path: Path) -> TrainingConfig:
    """Reads a configuration.

    Raises:
        ConfigError: Not readable, not JSON, a field unknown, missing or out of its range.
    """
    try:
        if path.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{path.name} is too large for a configuration")
        values = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path.name} is not JSON") from error
    return parse_config(values, path.name)


def parse_config(values: object, name: str = "the configuration") -> TrainingConfig:
    """The configuration that JSON values describe; `name` begins every message.

    Raises:
        ConfigError: A field is unknown, missing or out of its range.
    """
    return _parse(values, TrainingConfig, name)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _parse(values: object, kind: type[Kind], where: str) -> Kind:
    """A dataclass from JSON; all its sizes have to be there, variants may be left out."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is not an object")
    assert is_dataclass(kind)
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    for name in values:
        if name not in names:
            raise ConfigError(f"{where} has an unknown field {str(name)[:40]!r}")
    for name in names:
        if name not in values and hints[name] is not bool and get_origin(hints[name]) != Literal:
            raise ConfigError(f"{where} lacks the field {name!r}")
    parsed = {
        name: _value(value, hints[name], f"{where}: {name}") for name, value in values.items()
    }
    try:
        return kind(**parsed)
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where}: {error}") from error


def _value(value: object, hint: Any, where: str) -> object:
    """One value of the type that the field is declared with."""
    if hint in KINDS:
        return _one_of(value, KINDS[hint], where)
    if is_dataclass(hint) and isinstance(hint, type):
        return _parse(value, hint, where)
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            raise ConfigError(f"{where} is one of {', '.join(map(str, get_args(hint)))}")
        return value
    if get_origin(hint) is tuple:
        kinds = get_args(hint)
        if not isinstance(value, list) or len(value) != len(kinds):
            raise ConfigError(f"{where} is a list of {len(kinds)} numbers")
        return tuple(_value(v, k, where) for v, k in zip(value, kinds, strict=True))
    if hint is float and type(value) in (int, float):
        number = float(value)  # pyright: ignore[reportArgumentType]  (its type was checked)
        if math.isfinite(number):
            return number
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise ConfigError(f"{where} is not of type {getattr(hint, '__name__', hint)}")


def _one_of(value: object, kinds: dict[str, type], where: str) -> object:
    """A section of the kind that its `type` says."""
    if not isinstance(value, dict) or value.get("type") not in kinds:
        raise ConfigError(f"{where}: type is one of {', '.join(kinds)}")
    sizes = {name: size for name, size in value.items() if name != "type"}
    return _parse(sizes, kinds[value["type"]], where)
