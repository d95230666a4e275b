"""Hugging Face's VisionEncoderDecoder, and the captioner folder of arXiv:2408.14547's authors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dico.captioner import Captioner, CaptionerConfig
from dico.importers.captions import (
    ImportedCaptioner,
    SpecialIds,
    gpt2_decoder,
    gpt2_ffn,
    special_ids,
)
from dico.importers.config import (
    CLIP_PIXELS,
    HALF_PIXELS,
    IMAGENET_PIXELS,
    Fields,
    read_pixels,
)
from dico.importers.vision import hugging_face_clip_tower, vit_tower
from dico.importers.weights import CheckpointError, Part, Weights, fill, under
from dico.towers.vit import VisionTransformer


def read_vision_encoder_decoder(weights: Weights, folder: Path) -> ImportedCaptioner:
    """A ViT, DeiT or CLIP tower and a GPT-2 decoder, without an encoder between them.

    Raises:
        CheckpointError: A field or key is missing, odd, or of a kind that is not read.
    """
    whole = Fields.read(folder / "config.json")
    decoder = whole.part("decoder")
    tower = _tower(weights, "encoder.", whole.part("encoder"), folder)
    ids = _ids(whole, decoder)
    width, features = decoder.size("n_embd", 768), tower.config.width
    projected = "enc_to_dec_proj.weight" in weights
    if not projected and width != features:
        raise CheckpointError(f"{weights.name} lacks the key 'enc_to_dec_proj.weight'")
    config = CaptionerConfig(
        feature_width=features,
        feature_tokens=tower.config.feature_tokens,
        width=width,
        heads=decoder.size("n_head", 12),
        encoder_layers=0,
        encoder_ffn=0,
        projected=projected,
        **_decoder_sizes(decoder, ids),
    )
    parts: Part = {}
    if projected:
        parts |= under("projection", weights.linear("enc_to_dec_proj", features, width))
    parts |= gpt2_decoder(weights, "decoder.", decoder, ids)
    return _captioner(weights, tower, config, parts)


def read_authors_captioner(weights: Weights, folder: Path) -> ImportedCaptioner:
    """CLIP's tower, a linear layer, BERT's encoder and GPT-2's decoder, as the authors store it.

    Its config.json calls itself a vision-encoder-decoder; its keys tell it apart.

    Raises:
        CheckpointError: A field or key is missing, odd, or of a kind that is not read.
    """
    whole = Fields.read(folder / "config.json")
    outer, decoder = whole.part("encoder"), whole.part("decoder")
    bert = outer.part("encoder")
    prefix = "encoder.vision_encoder."
    tower = hugging_face_clip_tower(
        weights, prefix, outer.part("vision_encoder"), read_pixels(folder, CLIP_PIXELS)
    )
    weights.drop(r"encoder\.vision_encoder\.post_layernorm\.(weight|bias)")
    weights.drop(r"encoder\.encoder\.(pooler\.dense\.(weight|bias)|embeddings\.position_ids)")
    weights.drop(r"encoder\.encoder\.embeddings\.(word_embeddings\.weight|token_type_ids)")
    ids = _ids(whole, decoder)
    width, heads = decoder.size("n_embd", 512), decoder.size("n_head", 8)
    if (bert.size("hidden_size", width), bert.size("num_attention_heads", heads)) != (width, heads):
        raise CheckpointError("config.json has an encoder of another width than its decoder's")
    bert.expect("hidden_act", "gelu")
    if bert.number("layer_norm_eps", 1e-12) != 1e-12:
        raise CheckpointError("config.json has an encoder with a 'layer_norm_eps' not 1e-12")
    projected = "encoder.vis_enc_to_enc_proj.weight" in weights
    if not projected and width != tower.config.width:
        raise CheckpointError(f"{weights.name} lacks the key 'encoder.vis_enc_to_enc_proj.weight'")
    config = CaptionerConfig(
        feature_width=tower.config.width,
        feature_tokens=tower.config.feature_tokens,
        width=width,
        heads=heads,
        encoder_layers=bert.size("num_hidden_layers", 3),
        encoder_ffn=bert.size("intermediate_size", 3072),
        projected=projected,
        **_decoder_sizes(decoder, ids),
    )
    parts = _bert_encoder(weights, config)
    parts |= gpt2_decoder(weights, "decoder.", decoder, ids)
    return _captioner(weights, tower, config, parts)


def _bert_encoder(weights: Weights, config: CaptionerConfig) -> Part:
    """The authors' encoder; the one token type in use is folded into the positions."""
    width, key = config.width, "encoder.encoder.embeddings"
    rows, _ = weights.shape(f"{key}.position_embeddings.weight", 2)
    if rows < config.feature_tokens:
        raise CheckpointError(
            f"{weights.name} has {rows} rows in '{key}.position_embeddings.weight', "
            f"fewer than the tower's {config.feature_tokens} tokens"
        )
    positions = weights.take(f"{key}.position_embeddings.weight", rows, width)
    types, _ = weights.shape(f"{key}.token_type_embeddings.weight", 2)
    token_type = weights.take(f"{key}.token_type_embeddings.weight", types, width)[0]
    parts = {
        "encoder_positions": positions[: config.feature_tokens] + token_type,
        **under("encoder_norm", weights.norm(f"{key}.LayerNorm", width)),
    }
    if config.projected:
        joined = weights.linear("encoder.vis_enc_to_enc_proj", config.feature_width, width)
        parts |= under("projection", joined)
    for index in range(config.encoder_layers):
        source = f"encoder.encoder.encoder.layer.{index}"
        joint = [f"{source}.attention.self.{name}" for name in ("query", "key", "value")]
        output = f"{source}.attention.output"
        block = {
            **under("attention", weights.joined(joint, width, width)),
            **under("attention_output", weights.linear(f"{output}.dense", width, width)),
            **under("attention_norm", weights.norm(f"{output}.LayerNorm", width)),
            **under(
                "intermediate",
                weights.linear(f"{source}.intermediate.dense", width, config.encoder_ffn),
            ),
            **under("output", weights.linear(f"{source}.output.dense", config.encoder_ffn, width)),
            **under("output_norm", weights.norm(f"{source}.output.LayerNorm", width)),
        }
        parts |= under(f"encoder_layers.{index}", block)
    return parts


def _tower(weights: Weights, prefix: str, fields: Fields, folder: Path) -> VisionTransformer:
    kind = fields.text("model_type")
    if kind in ("vit", "deit"):
        is_deit = kind == "deit"
        pixels = read_pixels(folder, IMAGENET_PIXELS if is_deit else HALF_PIXELS)
        return vit_tower(weights, prefix, fields, pixels, is_deit=is_deit)
    if kind in ("clip_vision_model", "clip"):
        inner = f"{prefix}vision_model."
        prefix = inner if weights.begin_with(inner) else prefix
        sizes = fields.part("vision_config") if fields.has("vision_config") else fields
        tower = hugging_face_clip_tower(weights, prefix, sizes, read_pixels(folder, CLIP_PIXELS))
        weights.drop(rf"{re.escape(prefix)}post_layernorm\.(weight|bias)")
        return tower
    raise CheckpointError(f"config.json has an encoder {kind!r}; vit, deit or CLIP's is read")


def _ids(whole: Fields, decoder: Fields) -> SpecialIds:
    if decoder.text("model_type", "gpt2") != "gpt2":
        raise CheckpointError(
            f"config.json has a decoder {decoder.text('model_type')!r}; only gpt2 is read"
        )
    start, end, pad = (
        found if (found := whole.token(*names)) is not None else decoder.token(*names)
        for names in (
            ("decoder_start_token_id", "bos_token_id"), ("eos_token_id",), ("pad_token_id",)
        )
    )  # fmt: skip
    return special_ids(decoder.size("vocab_size", 50257), start, end, pad)


def _decoder_sizes(decoder: Fields, ids: SpecialIds) -> dict[str, Any]:
    return {
        "decoder_layers": decoder.size("n_layer", 12),
        "decoder_ffn": gpt2_ffn(decoder),
        "vocab_size": ids.vocab_size,
        "max_tokens": decoder.size("n_positions", 1024),
        "bos_id": ids.bos_id,
        "eos_id": ids.eos_id,
        "pad_id": ids.pad_id,
        "head_bias": ids.vocab_size > ids.known,
    }


def _captioner(
    weights: Weights, tower: VisionTransformer, config: CaptionerConfig, parts: Part
) -> ImportedCaptioner:
    weights.finish()
    if config.width % config.heads:
        raise CheckpointError("config.json has heads that do not divide the decoder's width")
    captioner = Captioner(config)
    fill(captioner, parts)
    return ImportedCaptioner(tower, captioner)
