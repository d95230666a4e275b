"""The vision towers of public checkpoints, from each layout's names into `VisionTransformer`."""

from __future__ import annotations

import re

import torch
from torch import Tensor

from dico.importers.config import Fields, Pixels
from dico.importers.weights import CheckpointError, Part, Weights, fill, under
from dico.towers.vit import Activation, VisionTransformer, VitConfig

ATTENTION = ("q_proj", "k_proj", "v_proj")


def hugging_face_clip_tower(
    weights: Weights, prefix: str, fields: Fields, pixels: Pixels
) -> VisionTransformer:
    """CLIP's tower up to its last block; the normalisation behind it is not part of it."""
    config = _vit_config(
        fields, "quick_gelu", patch_size=32, pre_norm=True, final_norm=False, eps=1e-5
    )
    width = config.width
    parts = _embeddings(
        weights.take(f"{prefix}embeddings.class_embedding", width)[None],
        weights.take(f"{prefix}embeddings.position_embedding.weight", config.feature_tokens, width),
        _patches(weights, f"{prefix}embeddings.patch_embedding", config, bias=False),
    )
    weights.drop(rf"{re.escape(prefix)}embeddings\.position_ids")
    parts |= under("pre_norm", weights.norm(f"{prefix}pre_layrnorm", width))
    for index in range(config.layers):
        source = f"{prefix}encoder.layers.{index}"
        parts |= under(f"blocks.{index}", clip_block(weights, source, width, config.ffn, ATTENTION))
    return _tower(config, parts, pixels)


def clip_block(
    weights: Weights, key: str, width: int, ffn: int, attention: tuple[str, ...]
) -> Part:
    """A block of Hugging Face's CLIP, vision or text, or of BLIP's vision tower."""
    if attention == ("qkv",):
        joint = weights.linear(f"{key}.self_attn.qkv", width, 3 * width)
        output = f"{key}.self_attn.projection"
    else:
        names = [f"{key}.self_attn.{name}" for name in attention]
        joint = weights.joined(names, width, width)
        output = f"{key}.self_attn.out_proj"
    return {
        **under("ln_1", weights.norm(f"{key}.layer_norm1", width)),
        **under("attention", joint),
        **under("attention_output", weights.linear(output, width, width)),
        **under("ln_2", weights.norm(f"{key}.layer_norm2", width)),
        **under("intermediate", weights.linear(f"{key}.mlp.fc1", width, ffn)),
        **under("output", weights.linear(f"{key}.mlp.fc2", ffn, width)),
    }


def blip_tower(weights: Weights, prefix: str, fields: Fields, pixels: Pixels) -> VisionTransformer:
    """BLIP's tower; its last normalisation belongs to the features."""
    config = _vit_config(fields, "gelu", image_size=384, pre_norm=False, final_norm=True, eps=1e-5)
    width, key = config.width, f"{prefix}embeddings"
    parts = _embeddings(
        weights.take(f"{key}.class_embedding", 1, 1, width)[0],
        weights.take(f"{key}.position_embedding", 1, config.feature_tokens, width)[0],
        _patches(weights, f"{key}.patch_embedding", config, bias=True),
    )
    for index in range(config.layers):
        source = f"{prefix}encoder.layers.{index}"
        block = clip_block(weights, source, width, config.ffn, ("qkv",))
        parts |= under(f"blocks.{index}", block)
    parts |= under("final_norm", weights.norm(f"{prefix}post_layernorm", width))
    return _tower(config, parts, pixels)


def vit_tower(
    weights: Weights, prefix: str, fields: Fields, pixels: Pixels, *, is_deit: bool
) -> VisionTransformer:
    """ViT's or DeiT's tower with its last normalisation; the pooler is not used."""
    config = _vit_config(
        fields, "gelu", pre_norm=False, final_norm=True, eps=1e-12, distillation_token=is_deit
    )
    width, key = config.width, f"{prefix}embeddings"
    fields.expect("qkv_bias", True)
    tokens = [weights.take(f"{key}.cls_token", 1, 1, width)[0]]
    if is_deit:
        tokens.append(weights.take(f"{key}.distillation_token", 1, 1, width)[0])
    weights.drop(rf"{re.escape(prefix)}(embeddings\.mask_token|pooler\.dense\.(weight|bias))")
    parts = _embeddings(
        torch.cat(tokens),
        weights.take(f"{key}.position_embeddings", 1, config.feature_tokens, width)[0],
        _patches(weights, f"{key}.patch_embeddings.projection", config, bias=True),
    )
    for index in range(config.layers):
        block = _vit_block(weights, f"{prefix}encoder.layer.{index}", width, config.ffn)
        parts |= under(f"blocks.{index}", block)
    parts |= under("final_norm", weights.norm(f"{prefix}layernorm", width))
    return _tower(config, parts, pixels)


def _vit_block(weights: Weights, key: str, width: int, ffn: int) -> Part:
    joint = [f"{key}.attention.attention.{name}" for name in ("query", "key", "value")]
    return {
        **under("ln_1", weights.norm(f"{key}.layernorm_before", width)),
        **under("attention", weights.joined(joint, width, width)),
        **under("attention_output", weights.linear(f"{key}.attention.output.dense", width, width)),
        **under("ln_2", weights.norm(f"{key}.layernorm_after", width)),
        **under("intermediate", weights.linear(f"{key}.intermediate.dense", width, ffn)),
        **under("output", weights.linear(f"{key}.output.dense", ffn, width)),
    }


def openai_tower(
    weights: Weights, activation: Activation, head_width: int, pixels: Pixels
) -> VisionTransformer:
    """The tower of OpenAI's and open_clip's state dicts; its sizes are those of its tensors."""
    width, _, patch, _ = weights.shape("visual.conv1.weight", 4)
    tokens, _ = weights.shape("visual.positional_embedding", 2)
    side = round((tokens - 1) ** 0.5)
    layers = count_layers(weights, "visual.transformer.resblocks.")
    ffn, _ = weights.shape("visual.transformer.resblocks.0.mlp.c_fc.weight", 2)
    config = make_vit_config(
        weights.name,
        image_size=side * patch,
        patch_size=patch,
        width=width,
        layers=layers,
        heads=max(width // head_width, 1),
        ffn=ffn,
        activation=activation,
    )
    parts = _embeddings(
        weights.take("visual.class_embedding", width)[None],
        weights.take("visual.positional_embedding", config.feature_tokens, width),
        {"weight": weights.take("visual.conv1.weight", width, 3, patch, patch)},
    )
    parts |= under("pre_norm", weights.norm("visual.ln_pre", width))
    for index in range(layers):
        source = f"visual.transformer.resblocks.{index}"
        parts |= under(f"blocks.{index}", openai_block(weights, source, width, ffn))
    return _tower(config, parts, pixels)


def openai_block(weights: Weights, key: str, width: int, ffn: int) -> Part:
    """A block of OpenAI's layout, vision or text."""
    joint = {
        "weight": weights.take(f"{key}.attn.in_proj_weight", 3 * width, width),
        "bias": weights.take(f"{key}.attn.in_proj_bias", 3 * width),
    }
    return {
        **under("ln_1", weights.norm(f"{key}.ln_1", width)),
        **under("attention", joint),
        **under("attention_output", weights.linear(f"{key}.attn.out_proj", width, width)),
        **under("ln_2", weights.norm(f"{key}.ln_2", width)),
        **under("intermediate", weights.linear(f"{key}.mlp.c_fc", width, ffn)),
        **under("output", weights.linear(f"{key}.mlp.c_proj", ffn, width)),
    }


def count_layers(weights: Weights, prefix: str) -> int:
    """How many numbered layers there are behind a prefix."""
    found = {key[len(prefix) :].split(".")[0] for key in weights.keys() if key.startswith(prefix)}
    return len(found)


def make_vit_config(name: str, **sizes: object) -> VitConfig:
    """The configuration of a tower.

    Raises:
        CheckpointError: Its sizes do not fit together.
    """
    try:
        return VitConfig(**sizes)  # pyright: ignore[reportArgumentType]  (checked by VitConfig)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{name} describes no tower: {error}") from error


def _vit_config(
    fields: Fields,
    activation: str,
    *,
    image_size: int = 224,
    patch_size: int = 16,
    pre_norm: bool,
    final_norm: bool,
    eps: float,
    distillation_token: bool = False,
) -> VitConfig:
    fields.expect("num_channels", 3)
    return make_vit_config(
        "config.json",
        image_size=fields.size("image_size", image_size),
        patch_size=fields.size("patch_size", patch_size),
        width=fields.size("hidden_size", 768),
        layers=fields.size("num_hidden_layers", 12),
        heads=fields.size("num_attention_heads", 12),
        ffn=fields.size("intermediate_size", 3072),
        activation=fields.activation("hidden_act", activation),
        distillation_token=distillation_token,
        pre_norm=pre_norm,
        final_norm=final_norm,
        eps=fields.number("layer_norm_eps", eps),
    )


def _patches(weights: Weights, key: str, config: VitConfig, *, bias: bool) -> Part:
    size = config.patch_size
    part = {"weight": weights.take(f"{key}.weight", config.width, 3, size, size)}
    return part | ({"bias": weights.take(f"{key}.bias", config.width)} if bias else {})


def _embeddings(prefix: Tensor, positions: Tensor, patches: Part) -> Part:
    bias = patches.get("bias", patches["weight"].new_zeros(len(patches["weight"])))
    return {
        "prefix_embedding": prefix,
        "position_embedding": positions,
        "patch_embedding.weight": patches["weight"],
        "patch_embedding.bias": bias,
    }


def _tower(config: VitConfig, parts: Part, pixels: Pixels) -> VisionTransformer:
    tower = VisionTransformer(config)
    fill(tower, parts)
    tower.fold_preprocessing(*pixels)
    return tower
