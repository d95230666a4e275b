"""`python -m dico import`: public checkpoints to a base version or to an evaluator."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import Any

DESCRIPTION = """\
Reads a public checkpoint without running anything in it and writes it as files of ours.

A captioner becomes a base version: ONNX files, tokenizer, signed manifest and the state that
further training starts from. With --evaluator it can be updated by thumbs; without, it captions.
A CLIP becomes evaluator.safetensors and tower.safetensors, which --evaluator of another import
and `train --weights` read.

kinds:
  clip       a state dict with OpenAI's names; a TorchScript archive holds code: save its state_dict
  pac        the same of PAC-S, or PAC-S++ with its low-rank updates: {"state_dict": ...}
  open-clip  a state dict of open_clip; what it does not say of itself (activation, heads, mean
             and deviation) comes from open_clip_config.json beside it, else exact gelu and CLIP's
             mean and deviation
  dico       the folder of the captioner of arXiv:2408.14547
  hf         a folder of Hugging Face: CLIPModel; VisionEncoderDecoder of ViT, DeiT or CLIP with
             GPT-2; BlipForConditionalGeneration

Every image is prepared in our one way: shorter side resized, centre cut out. Checkpoints made for
squeezed squares (ViT, DeiT, BLIP) see the middle of a picture instead of all of it.

exit status: 0 done, 2 wrong file or arguments, with one sentence that says which.
"""


def add_import_command(commands: Any) -> None:
    """Registers the command; PyTorch is loaded only when it runs."""
    parser = commands.add_parser(
        "import",
        help="public checkpoints in: CLIP, open_clip, PAC-S, the paper's captioner, Hugging Face",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from", dest="source", type=Path, required=True, help="file or folder of the checkpoint"
    )
    parser.add_argument(
        "--kind",
        choices=["auto", "clip", "open-clip", "pac", "dico", "hf"],
        default="auto",
        help="what it is (auto: told by its keys; OpenAI's names mean clip)",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--evaluator", type=Path, help="a CLIP of any kind above that rewards captions in updates"
    )
    parser.add_argument("--sha256", help="digest that the checkpoint's file of weights must have")
    parser.add_argument(
        "--tokenizer",
        type=Path,
        help="tokenizer.json, or folder with one, with vocab.json and merges.txt, or with "
        "vocab.txt (default: beside the checkpoint)",
    )
    parser.add_argument("--model", help="line of versions that it begins (name of --out)")
    parser.add_argument(
        "--signing-key-env",
        default="DICO_SIGNING_KEY",
        help="variable holding the base64 Ed25519 seed that signs a version's manifest",
    )
    parser.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    from dico.importers.weights import CheckpointError

    if arguments.sha256 and not re.fullmatch(r"[0-9a-fA-F]{64}", arguments.sha256):
        print("--sha256 is 64 hexadecimal digits", file=sys.stderr)
        return 2
    try:
        print(_run(arguments))
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _run(arguments: argparse.Namespace) -> str:
    """Reads, checks and writes; returns what to print.

    Raises:
        CheckpointError: Anything is wrong with a file or an argument.
    """
    from dico.evaluators.public_clip import PublicClip
    from dico.importers.checkpoints import read_checkpoint
    from dico.importers.publish import Evaluator, publish_captioner, publish_clip
    from dico.importers.tokenizers import find_tokenizer
    from dico.importers.weights import CheckpointError

    checkpoint = read_checkpoint(arguments.source, arguments.kind, arguments.sha256)
    place = arguments.tokenizer or _folder(arguments.source)
    tokenizer = find_tokenizer(place)
    if isinstance(checkpoint.content, PublicClip):
        if arguments.evaluator:
            raise CheckpointError("--evaluator belongs to a captioner, and --from is a CLIP")
        digest = publish_clip(arguments.out, checkpoint.content, tokenizer)
        vision = checkpoint.content.config.vision
        return (
            f"{checkpoint.kind}: {vision.image_size} px, {vision.layers} layers, "
            f"{vision.activation}\nevaluator {digest}"
        )
    if tokenizer is None:
        raise CheckpointError(f"{place} has no tokenizer; --tokenizer names one")
    seed = os.environ.get(arguments.signing_key_env)
    if not seed:
        raise CheckpointError(
            f"{arguments.signing_key_env} is not set; it signs the version: 32 random bytes in "
            "base64, as `openssl rand -base64 32` prints them"
        )
    model = arguments.model or arguments.out.resolve().name.lower()
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", model):
        raise CheckpointError(f"--model has to name it in small letters, digits and -: {model!r}")
    evaluator = None
    if arguments.evaluator:
        read = read_checkpoint(arguments.evaluator)
        if not isinstance(read.content, PublicClip):
            raise CheckpointError("--evaluator is a captioner, not a CLIP")
        evaluator = Evaluator(read.content, find_tokenizer(_folder(arguments.evaluator)))
    version = publish_captioner(
        arguments.out,
        checkpoint.content,
        tokenizer,
        evaluator,
        model=model,
        signing_seed=seed,
        origin={"kind": checkpoint.kind, "name": arguments.source.name},
    )
    parity = version.manifest.parity
    return (
        f"{checkpoint.kind}: version {version.version_id}, onnxruntime gives PyTorch's caption on "
        f"{parity['token_exact_fp32']:.0%} of {parity['images']} pictures"
    )


def _folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent
