"""The modules of a training, with weights from files or, where none is given, random ones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dico.captioner import Captioner
from dico.evaluators.clip import Clip
from dico.evaluators.public_clip import CaptionTokens, PublicClip, PublicEvaluator
from dico.evaluators.public_storage import is_public_clip, load_public_clip
from dico.evaluators.storage import load_evaluators
from dico.scale.config import SharedClip, TrainingConfig
from dico.scale.features import weights_digest
from dico.tokenizer import Tokenizer
from dico.tower import Tower
from dico.towers.vit import VisionTransformer, VitConfig

Evaluator = Clip | PublicEvaluator


class WeightsError(ValueError):
    """A file of weights or of the tokenizer does not fit; the message is one sentence."""


@dataclass(frozen=True)
class Models:
    """Everything that a training computes with, in eval mode and without gradient.

    Attributes:
        digests: Of everything frozen, by name; what the results depend on beside the data.
        random: Names of the modules whose weights are random.
    """

    tower: nn.Module
    captioner: Captioner
    evaluator: Evaluator
    tokenizer: Tokenizer
    digests: dict[str, str]
    random: tuple[str, ...]


def make_models(
    config: TrainingConfig,
    tokenizer: Path,
    *,
    weights: Path | None,
    evaluators: Path | None,
    device: torch.device,
) -> Models:
    """Makes the modules of a configuration; the random ones come from its seed.

    Args:
        config: Sizes.
        tokenizer: A `tokenizer.json` whose ids the vocabulary holds.
        weights: Safetensors with `tower.` and `captioner.` keys, of which either may be absent.
        evaluators: A file of `dico.evaluators.storage`, whose PAC gives the rewards, or of
            `dico.evaluators.public_storage`.
        device: Where they are put.

    Raises:
        WeightsError: A file cannot be read or does not fit the configuration.
    """
    torch.manual_seed(config.seed)  # on the CPU, so that a seed means the same everywhere
    if isinstance(config.tower, VitConfig):
        tower = VisionTransformer(config.tower)
    else:
        tower = Tower(config.tower).fold()
    captioner = Captioner(config.captioner)
    given: set[str] = set()
    if weights is not None:
        given = load_weights(weights, {"tower": tower, "captioner": captioner})
    evaluator = make_evaluator(config, tower, evaluators)
    if evaluators is not None:
        given.add("evaluator")
    modules: dict[str, nn.Module] = {
        "tower": tower, "captioner": captioner, "evaluator": evaluator
    }  # fmt: skip
    for module in modules.values():
        module.to(device).eval().requires_grad_(False)
    text, read = _load_tokenizer(tokenizer, config)
    digests = {
        "tower": weights_digest(tower),
        "evaluator": weights_digest(evaluator),
        "tokenizer": hashlib.sha256(read).hexdigest(),
    }
    random = tuple(name for name in modules if name not in given)
    return Models(tower, captioner, evaluator, text, digests, random)


def load_weights(path: Path, modules: dict[str, nn.Module]) -> set[str]:
    """Fills each module whose name begins some key of the file; returns the names of those.

    Args:
        path: Safetensors whose keys are a module's name, a dot and the parameter's name.
        modules: By name.

    Raises:
        WeightsError: Unreadable, a key unknown or missing, a shape that does not fit.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path} is no readable safetensors file") from error
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, rest = key.partition(".")
        if name not in modules:
            raise WeightsError(f"{path} has an odd key {key[:80]!r}")
        parts.setdefault(name, {})[rest] = tensor.float()
    for name, part in parts.items():
        expected = modules[name].state_dict()
        for key in sorted(expected.keys() ^ part.keys()):
            kind = "lacks the key" if key in expected else "has an odd key"
            raise WeightsError(f"{path} {kind} '{name}.{key[:80]}'")
        for key, value in expected.items():
            if part[key].shape != value.shape:
                raise WeightsError(
                    f"{path} has {name}.{key} of shape {list(part[key].shape)}, "
                    f"not {list(value.shape)}"
                )
        modules[name].load_state_dict(part)
    return set(parts)


def make_evaluator(config: TrainingConfig, tower: nn.Module, path: Path | None) -> Evaluator:
    """The evaluator of a configuration, from a file or with random weights.

    Raises:
        WeightsError: The file cannot be read or holds an evaluator of other sizes.
    """
    if isinstance(config.evaluator, SharedClip):
        return _shared_clip(config, config.evaluator, tower, path)
    if path is None:
        return Clip(config.evaluator)
    try:
        _, pac = load_evaluators(path)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} holds no evaluators") from error
    if pac.config != config.evaluator:
        raise WeightsError(f"{path} holds an evaluator of other sizes than the configuration's")
    return pac


def _shared_clip(
    config: TrainingConfig, sizes: SharedClip, tower: nn.Module, path: Path | None
) -> PublicEvaluator:
    """A public CLIP without its tower: it only ever sees the tower's features."""
    assert isinstance(config.tower, VitConfig)  # the configuration was checked
    whole = sizes.whole(config.tower)
    if path is None:
        with torch.device("meta"):  # random weights of a second tower would cost 1.2 GB
            clip = PublicClip(whole)
        clip.vision = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]  (never called)
        clip = clip.to_empty(device="cpu")
        for name, parameter in clip.named_parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
            else:
                nn.init.constant_(parameter, 0.0 if name.endswith("bias") else 1.0)
    else:
        try:
            if not is_public_clip(path):
                raise WeightsError(f"{path} holds no public CLIP")
            clip, shares = load_public_clip(path, tower)
        except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
            raise WeightsError(f"{path} holds no evaluators") from error
        if not shares or clip.config != whole:
            raise WeightsError(f"{path} holds an evaluator of other sizes than the configuration's")
        clip.vision = nn.Identity()  # pyright: ignore[reportAttributeAccessIssue]  (never called)
    ids = config.captioner
    tokens = CaptionTokens(sizes.text.max_tokens - 1, ids.bos_id, ids.eos_id, ids.pad_id)
    return PublicEvaluator(clip, tokens, shares_tower=True, tokenizers=None)


def _load_tokenizer(path: Path, config: TrainingConfig) -> tuple[Tokenizer, bytes]:
    try:
        read = path.read_bytes()
        tokenizer = Tokenizer.load(path)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise WeightsError(f"{path} is no tokenizer.json with start, end and padding") from error
    if tokenizer.vocab_size > config.captioner.vocab_size:
        raise WeightsError(
            f"{path} has {tokenizer.vocab_size} ids, the vocabulary {config.captioner.vocab_size}"
        )
    return tokenizer, read
