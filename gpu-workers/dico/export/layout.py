"""Writes a captioner as a published version: the folder that the edge and other tools read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from dico.captioner import Captioner, CaptionerConfig
from dico.export.graphs import decoder_graph, encoder_graph
from dico.export.manifest import (
    Evaluator,
    Lineage,
    Manifest,
    Probe,
    VersionFile,
    list_files,
    sha256_hex,
    sign,
    unpublish,
    version_id,
    write_manifest,
)
from dico.export.parity import Generation, OnnxCaptioner, measure_parity
from dico.export.quantise import quantise_weights
from dico.export.training_state import round_to_fp16, save_training_state
from dico.pixels import MEAN, STD, load_pixels
from dico.search import Candidate, beam_search
from dico.tokenizer import BOS, EOS, PAD, Tokenizer
from dico.tower import Tower, TowerConfig
from dico.towers.joint import AnyTower, JointTower
from dico.towers.vit import VitConfig

# A probe's best caption must lead by this much: runtimes differ in the last bits of a sum.
PROBE_LEAD = 1e-3

PROBE = "probe.png"


@dataclass(frozen=True)
class PublishedVersion:
    """A version as written.

    Attributes:
        version_id: Derived from the manifest's bytes.
        manifest_sha256: Digest of the manifest's bytes.
        signature: Base64 Ed25519, over the manifest's bytes.
        manifest: Its content.
    """

    version_id: str
    manifest_sha256: str
    signature: str
    manifest: Manifest

    @property
    def files(self) -> list[VersionFile]:
        """All files but the manifest and its signature."""
        return self.manifest.files


class ProbeError(ValueError):
    """No probe image has a caption on which runtimes can be trusted to agree."""


def write_version(
    folder: Path,
    tower: AnyTower,
    captioner: Captioner,
    tokenizer_json: bytes | Path,
    *,
    model: str,
    probe_images: Sequence[bytes],
    parity_pixels: np.ndarray,
    signing_seed: str,
    lineage: Lineage | None = None,
    evaluators: dict[str, str] | None = None,
    metrics: dict[str, Any] | None = None,
    training: dict[str, Any] | None = None,
    generation: Generation | None = None,
    with_training_state: bool = False,
) -> PublishedVersion:
    """Writes the whole version; run again on the same folder, it starts over.

    Files already in the folder, such as `training/evaluators.safetensors`, become part of it.

    Args:
        folder: Made if need be; it is a version from the moment its manifest is there.
        tower: Mutated: folded, rounded to fp16, on the CPU in eval mode. Of a joint tower only
            the captioner's part is written.
        captioner: Mutated: rounded to fp16, on the CPU in eval mode.
        tokenizer_json: `tokenizer.json`, its bytes or its path.
        model: The line of versions it belongs to.
        probe_images: PNG files; the first with a clear best caption becomes the probe.
        parity_pixels: Images to compare PyTorch and onnxruntime on, [B, 3, side, side].
        signing_seed: Base64 of a 32-byte Ed25519 seed.
        lineage: Where it comes from; left out for a base version.
        evaluators: Name to digest of the evaluators that took part.
        metrics: Free figures.
        training: Free facts about its making.
        generation: The search it is made for.
        with_training_state: Whether `training/` gets the weights, for further training.

    Raises:
        ProbeError: No probe image will do.
        ValueError: A weight does not fit fp16, the key is none, a figure is not finite.
    """
    sign(b"", signing_seed)  # a bad key is better found before minutes of work
    generation = generation or Generation()
    tower = tower.tower if isinstance(tower, JointTower) else tower
    tower.cpu().eval()
    if isinstance(tower, Tower):
        tower.fold()
    captioner.cpu().eval()
    for module in (tower, captioner):
        round_to_fp16(module)
    unpublish(folder)
    write_layout(folder, tower, captioner, tokenizer_json, generation)
    if with_training_state:
        save_training_state(folder, tower, captioner)
    probe = _write_probe(folder, tower, captioner, probe_images, generation)
    parity = measure_parity(folder, tower, captioner, parity_pixels)
    manifest = Manifest(
        model=model,
        files=list_files(folder),
        lineage=lineage or Lineage(),
        evaluators={name: Evaluator(sha256=d) for name, d in (evaluators or {}).items()},
        metrics=metrics or {},
        parity=asdict(parity),
        probe=probe,
        training=training or {},
    )
    data = write_manifest(folder, manifest, signing_seed)
    return PublishedVersion(version_id(data), sha256_hex(data), sign(data, signing_seed), manifest)


def write_layout(
    folder: Path,
    tower: AnyTower,
    captioner: Captioner,
    tokenizer_json: bytes | Path,
    generation: Generation,
) -> None:
    """Writes the files that run the model: graphs, configuration, tokenizer."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    graphs = {
        "encoder_model": encoder_graph(tower, captioner),
        "decoder_model_merged": decoder_graph(captioner),
    }
    for name, graph in graphs.items():
        _save(graph, folder / f"onnx/{name}.onnx")
        _save(quantise_weights(graph), folder / f"onnx/{name}_quantized.onnx")
    tokenizer = tokenizer_json if isinstance(tokenizer_json, bytes) else tokenizer_json.read_bytes()
    (folder / "tokenizer.json").write_bytes(tokenizer)
    config = captioner.config
    contents = {
        "config.json": model_config(config, tower.config),
        "generation_config.json": {**asdict(generation), **_special_ids(config)},
        "preprocessor_config.json": preprocessor_config(tower.config.image_size),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "add_prefix_space": False,
            "bos_token": BOS,
            "eos_token": EOS,
            "pad_token": PAD,
            "clean_up_tokenization_spaces": False,
            "model_max_length": config.max_tokens,
        },
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")


def model_config(config: CaptionerConfig, tower: TowerConfig | VitConfig) -> dict[str, Any]:
    """`config.json` as transformers.js and Optimum read a vision-encoder-decoder.

    Both choose their code by model type and know neither of ours: "vit" and "trocr" are the types
    whose inputs, outputs and sizes have the same names.
    """
    is_vit = isinstance(tower, VitConfig)
    return {
        "model_type": "vision-encoder-decoder",
        "architectures": ["VisionEncoderDecoderModel"],
        "is_encoder_decoder": True,
        "tie_word_embeddings": True,
        "vocab_size": config.vocab_size,
        **_special_ids(config),
        "encoder": {
            "model_type": "vit",
            "image_size": tower.image_size,
            "patch_size": tower.patch_size if is_vit else tower.image_size // tower.cells,
            "hidden_size": config.encoder_width,
            "num_hidden_layers": config.encoder_layers,
            "num_attention_heads": config.heads,
            "intermediate_size": config.encoder_ffn,
        },
        "decoder": {
            "model_type": "trocr",
            "is_decoder": True,
            "add_cross_attention": True,
            "vocab_size": config.vocab_size,
            "d_model": config.width,
            "decoder_layers": config.decoder_layers,
            "decoder_attention_heads": config.heads,
            "decoder_ffn_dim": config.decoder_ffn,
            "cross_attention_hidden_size": config.encoder_width,
            "max_position_embeddings": config.max_tokens,
            **_special_ids(config),
        },
    }


def preprocessor_config(side: int) -> dict[str, Any]:
    """`preprocessor_config.json`.

    `resample` 1 is Lanczos although the model is trained on Pillow's bicubic (3): transformers.js
    shrinks without smoothing at 3 and comes nearest to Pillow's bicubic at 1, and Pillow's own two
    filters differ by a few levels. The edge and `dico` use bicubic itself and do not read it.
    """
    return {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": 1,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [MEAN] * 3,
        "image_std": [STD] * 3,
    }


def _special_ids(config: CaptionerConfig) -> dict[str, int]:
    return {
        "decoder_start_token_id": config.bos_id,
        "bos_token_id": config.bos_id,
        "eos_token_id": config.eos_id,
        "pad_token_id": config.pad_id,
    }


def _save(graph: onnx.ModelProto, path: Path) -> None:
    path.write_bytes(graph.SerializeToString(deterministic=True))


@torch.no_grad()
def _write_probe(
    folder: Path,
    tower: AnyTower,
    captioner: Captioner,
    images: Sequence[bytes],
    generation: Generation,
) -> Probe:
    """Writes the first image on which PyTorch and onnxruntime agree by a clear lead."""
    onnx_captioner = OnnxCaptioner(folder)
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    for image in images:
        pixels = load_pixels(image, tower.config.image_size)[None]
        states = captioner.encode(tower(torch.from_numpy(pixels)))
        ranked = beam_search(captioner, states, **asdict(generation))[0]
        if onnx_captioner.caption(pixels)[0][0].tokens == ranked[0].tokens and _leads(ranked):
            (folder / PROBE).write_bytes(image)
            best = ranked[0]
            return Probe(
                image=PROBE,
                num_beams=generation.num_beams,
                max_new_tokens=generation.max_new_tokens,
                expected_tokens=[*best.tokens, *[captioner.config.eos_id] * best.finished],
                expected_caption=tokenizer.decode(best.tokens),
            )
    raise ProbeError(f"none of {len(images)} images has a clear best caption")


def _leads(ranked: list[Candidate]) -> bool:
    return len(ranked) < 2 or ranked[0].score - ranked[1].score >= PROBE_LEAD
