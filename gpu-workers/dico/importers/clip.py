"""Public CLIPs into `PublicClip`: OpenAI's and open_clip's state dicts, PAC-S, Hugging Face."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dico.evaluators.public_clip import PublicClip, PublicClipConfig, TextConfig
from dico.importers.config import CLIP_PIXELS, Fields, Pixels, read_pixels
from dico.importers.vision import (
    ATTENTION,
    clip_block,
    count_layers,
    hugging_face_clip_tower,
    openai_block,
    openai_tower,
)
from dico.importers.weights import CheckpointError, Part, Weights, fill, read_json, under
from dico.towers.vit import Activation, VisionTransformer

# Width of an attention head: OpenAI's is 64 everywhere, open_clip's larger towers differ.
_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
OPEN_CLIP_CONFIG = "open_clip_config.json"


@dataclass(frozen=True)
class Flavour:
    """What a state dict does not say about itself.

    Attributes:
        activation: Of both towers.
        head_width: Of the vision tower's attention; None for that of its width.
        text_head_width: Likewise.
        pixels: Mean and deviation of its preprocessing.
    """

    activation: Activation
    head_width: int | None = None
    text_head_width: int = 64
    pixels: Pixels = CLIP_PIXELS


OPENAI = Flavour("quick_gelu", head_width=64)


def open_clip_flavour(folder: Path) -> Flavour:
    """What open_clip_config.json in the folder says; without it, open_clip's usual choices.

    Raises:
        CheckpointError: The file is there and says something that is not read.
    """
    path = folder / OPEN_CLIP_CONFIG
    if not path.is_file():
        return Flavour("gelu")
    whole = Fields.read(path)
    model, values = whole.part("model_cfg"), read_json(path)["model_cfg"]
    vision, text = model.part("vision_cfg"), model.part("text_cfg")
    pixels = CLIP_PIXELS
    preprocess = read_json(path).get("preprocess_cfg") or {}
    if "mean" in preprocess and "std" in preprocess:
        mean, std = preprocess["mean"], preprocess["std"]
        if not all(len(v) == 3 and min(v) >= 0 for v in (mean, std)) or min(std) <= 0:
            raise CheckpointError(f"{path.name} needs three numbers in mean and std")
        pixels = tuple(map(float, mean)), tuple(map(float, std))
    return Flavour(
        "quick_gelu" if values.get("quick_gelu") is True else "gelu",
        vision.size("head_width", 64),
        text.size("width", 512) // text.size("heads", 8),
        pixels,
    )


def read_openai_clip(weights: Weights, flavour: Flavour) -> PublicClip:
    """A CLIP from a state dict with OpenAI's names, which open_clip and PAC-S keep.

    Raises:
        CheckpointError: A key is missing, odd, or of another shape.
    """
    weights.drop(r"input_resolution|context_length|vocab_size|attn_mask")
    merge_lora(weights)
    text_width = weights.shape("ln_final.weight", 1)[0]
    vocab_size, _ = weights.shape("token_embedding.weight", 2)
    max_tokens, _ = weights.shape("positional_embedding", 2)
    _, embed_width = weights.shape("text_projection", 2)
    width = weights.shape("visual.conv1.weight", 4)[0]
    head_width = flavour.head_width or _HEAD_WIDTHS.get(width, 64)
    tower = openai_tower(weights, flavour.activation, head_width, flavour.pixels)
    ffn, _ = weights.shape("transformer.resblocks.0.mlp.c_fc.weight", 2)
    text = TextConfig(
        width=text_width,
        layers=count_layers(weights, "transformer.resblocks."),
        heads=_heads(weights.name, text_width, flavour.text_head_width),
        ffn=ffn,
        activation=flavour.activation,
        eps=1e-5,
        vocab_size=vocab_size,
        max_tokens=max_tokens,
        bos_id=vocab_size - 2,
        eos_id=vocab_size - 1,
    )
    parts = {
        **under("vision_norm", weights.norm("visual.ln_post", width)),
        "vision_projection.weight": _turned(weights.take("visual.proj", width, embed_width)),
        "token_embedding.weight": weights.take("token_embedding.weight", vocab_size, text_width),
        "text_positions": weights.take("positional_embedding", max_tokens, text_width),
        **under("text_norm", weights.norm("ln_final", text_width)),
        "text_projection.weight": _turned(weights.take("text_projection", text_width, embed_width)),
        "logit_scale": weights.take("logit_scale"),
    }
    for index in range(text.layers):
        block = openai_block(weights, f"transformer.resblocks.{index}", text_width, ffn)
        parts |= under(f"text_blocks.{index}", block)
    weights.finish()
    return _clip(tower, text, embed_width, parts)


def merge_lora(weights: Weights) -> int:
    """Puts PAC-S++'s low-rank updates of the attention into its weights; scaling 1 / rank.

    The merge trap: the published evaluator adds the updates of attention at each pass, and takes
    the weights of the MLPs and of the patch embedding as the file has them, for these were merged
    when it was saved. Adding theirs as well would count them twice.

    Returns:
        How many pairs were merged.

    Raises:
        CheckpointError: A half of a pair is missing, or belongs to no weight of an attention.
    """
    weights.rename("visual.conv1.conv.weight", "visual.conv1.weight")
    found = [key for key in weights.keys() if key.endswith("lora_A")]
    merged = 0
    for key in sorted(found):
        stem = key.removesuffix("lora_A")
        rank, inputs = weights.shape(key, 2)
        outputs, _ = weights.shape(f"{stem}lora_B", 2)
        first, second = (
            weights.take(key, rank, inputs),
            weights.take(f"{stem}lora_B", outputs, rank),
        )
        target = f"{stem.rstrip('_.')}" + ("" if stem.endswith("_") else ".weight")
        if target not in weights:
            raise CheckpointError(f"{weights.name} has {key!r}, but no weight {target!r}")
        if ".attn." in key:
            weights.add(target, second @ first / rank)
            merged += 1
    return merged


def read_hugging_face_clip(weights: Weights, folder: Path) -> PublicClip:
    """A CLIP from a folder of Hugging Face's CLIPModel.

    Raises:
        CheckpointError: A field or key is missing, odd, or of another shape.
    """
    fields = Fields.read(folder / "config.json")
    vision, text_fields = fields.part("vision_config"), fields.part("text_config")
    embed_width = fields.size("projection_dim", 512)
    pixels = read_pixels(folder, CLIP_PIXELS)
    tower = hugging_face_clip_tower(weights, "vision_model.", vision, pixels)
    width = tower.config.width
    vocab_size = text_fields.size("vocab_size", 49408)
    eos_id = text_fields.token("eos_token_id")
    if eos_id is None or eos_id == 2:  # older files say 2 and mean the highest id
        eos_id = vocab_size - 1
    text = TextConfig(
        width=text_fields.size("hidden_size", 512),
        layers=text_fields.size("num_hidden_layers", 12),
        heads=text_fields.size("num_attention_heads", 8),
        ffn=text_fields.size("intermediate_size", 2048),
        activation=text_fields.activation("hidden_act", "quick_gelu"),
        eps=text_fields.number("layer_norm_eps", 1e-5),
        vocab_size=vocab_size,
        max_tokens=text_fields.size("max_position_embeddings", 77),
        bos_id=eos_id - 1,
        eos_id=eos_id,
    )
    _heads(weights.name, text.width, text.width // text.heads)
    key = "text_model.embeddings"
    parts = {
        **under("vision_norm", weights.norm("vision_model.post_layernorm", width)),
        "vision_projection.weight": weights.take("visual_projection.weight", embed_width, width),
        "token_embedding.weight": weights.take(
            f"{key}.token_embedding.weight", vocab_size, text.width
        ),
        "text_positions": weights.take(
            f"{key}.position_embedding.weight", text.max_tokens, text.width
        ),
        **under("text_norm", weights.norm("text_model.final_layer_norm", text.width)),
        "text_projection.weight": weights.take("text_projection.weight", embed_width, text.width),
        "logit_scale": weights.take("logit_scale"),
    }
    for index in range(text.layers):
        source = f"text_model.encoder.layers.{index}"
        block = clip_block(weights, source, text.width, text.ffn, ATTENTION)
        parts |= under(f"text_blocks.{index}", block)
    weights.drop(r"text_model\.embeddings\.position_ids")
    weights.finish()
    return _clip(tower, text, embed_width, parts)


def _heads(name: str, width: int, head_width: int) -> int:
    if not 0 < head_width <= width or width % head_width:
        raise CheckpointError(f"{name} has a text width of {width}, which heads do not divide")
    return width // head_width


def _turned(projection: Tensor) -> Tensor:
    """OpenAI's projections are [in, out]."""
    return projection.T.contiguous()


def _clip(tower: VisionTransformer, text: TextConfig, embed_width: int, parts: Part) -> PublicClip:
    clip = PublicClip(PublicClipConfig(tower.config, text, embed_width))
    fill(clip, parts | under("vision", tower.state_dict()))
    return clip
