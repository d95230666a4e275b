"""Finds out what a path holds, and reads it: a captioner or a CLIP."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError

from dico.evaluators.public_clip import PublicClip
from dico.evaluators.public_storage import is_public_clip, load_public_clip
from dico.importers.blip import read_blip
from dico.importers.captions import ImportedCaptioner
from dico.importers.clip import (
    OPEN_CLIP_CONFIG,
    OPENAI,
    open_clip_flavour,
    read_hugging_face_clip,
    read_openai_clip,
)
from dico.importers.vision_encoder_decoder import (
    read_authors_captioner,
    read_vision_encoder_decoder,
)
from dico.importers.weights import (
    MAX_WEIGHTS_BYTES,
    CheckpointError,
    Weights,
    read_json,
    read_weights,
)

Kind = Literal["auto", "clip", "open-clip", "pac", "dico", "hf"]
AUTHORS_PREFIX = "encoder.vision_encoder."
# What an imported CLIP is stored as, and can be read from again.
STORED_CLIP = "evaluator.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """What was read, and as what."""

    kind: str
    content: ImportedCaptioner | PublicClip


def read_checkpoint(
    path: Path, kind: Kind = "auto", sha256: str | None = None, limit: int = MAX_WEIGHTS_BYTES
) -> Checkpoint:
    """Reads a checkpoint of any kind.

    Args:
        path: A file or a folder.
        kind: What it has to be; "auto" tells state dicts with OpenAI's names, which say nothing of
            their activation, to be OpenAI's unless open_clip_config.json lies beside them.
        sha256: Digest that its file of weights has to have.
        limit: Bytes that its weights may have.

    Raises:
        CheckpointError: It is not of that kind, or wrong in any way.
    """
    if not path.exists():
        raise CheckpointError(f"{path} does not exist")
    if kind == "auto" and (path / STORED_CLIP).is_file():
        return Checkpoint("imported clip", _stored_clip(path / STORED_CLIP))
    weights = read_weights(path, sha256, limit)
    folder = path if path.is_dir() else path.parent
    found = _kind_of(weights, folder, is_folder=path.is_dir()) if kind == "auto" else kind
    if found in ("clip", "pac"):
        return Checkpoint(found, read_openai_clip(weights, OPENAI))
    if found == "open-clip":
        return Checkpoint(found, read_openai_clip(weights, open_clip_flavour(folder)))
    if not path.is_dir():
        raise CheckpointError(f"{path.name} is a file; the kind {found} is a folder")
    if found == "dico":
        return Checkpoint(found, read_authors_captioner(weights, folder))
    model_type = read_json(folder / "config.json").get("model_type")
    if model_type == "clip":
        return Checkpoint("hf clip", read_hugging_face_clip(weights, folder))
    if model_type == "blip":
        return Checkpoint("hf blip", read_blip(weights, folder))
    if model_type == "vision-encoder-decoder":
        content = read_vision_encoder_decoder(weights, folder)
        return Checkpoint("hf vision-encoder-decoder", content)
    raise CheckpointError(
        f"config.json has the model_type {str(model_type)[:40]!r}; clip, blip and "
        "vision-encoder-decoder are read"
    )


def _kind_of(weights: Weights, folder: Path, *, is_folder: bool) -> str:
    if "visual.conv1.weight" in weights or "visual.conv1.conv.weight" in weights:
        return "open-clip" if (folder / OPEN_CLIP_CONFIG).is_file() else "clip"
    if weights.begin_with(AUTHORS_PREFIX):
        return "dico"
    if is_folder and (folder / "config.json").is_file():
        return "hf"
    raise CheckpointError(f"{weights.name} has the keys of no checkpoint that is read")


def _stored_clip(path: Path) -> PublicClip:
    try:
        if not is_public_clip(path):
            raise CheckpointError(f"{path.name} is not a CLIP that was imported")
        return load_public_clip(path)[0]
    except CheckpointError:
        raise
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"{path.name} is not a CLIP that was imported") from error
