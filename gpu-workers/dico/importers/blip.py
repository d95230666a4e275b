"""Hugging Face's BlipForConditionalGeneration: a ViT and BERT with cross-attention as decoder."""

from __future__ import annotations

from pathlib import Path

import torch

from dico.captioner import Captioner, CaptionerConfig
from dico.importers.captions import ImportedCaptioner, special_ids
from dico.importers.config import CLIP_PIXELS, Fields, read_pixels
from dico.importers.vision import blip_tower
from dico.importers.weights import CheckpointError, Part, Weights, fill, under


def read_blip(weights: Weights, folder: Path) -> ImportedCaptioner:
    """BLIP's captioner (arXiv:2201.12086); a caption begins with its decoder token alone.

    Raises:
        CheckpointError: A field or key is missing, odd, or of a kind that is not read.
    """
    whole = Fields.read(folder / "config.json")
    vision, text = whole.part("vision_config"), whole.part("text_config")
    text.expect("hidden_act", "gelu")
    if text.number("layer_norm_eps", 1e-12) != 1e-12:
        raise CheckpointError("config.json has a text_config with a 'layer_norm_eps' not 1e-12")
    tower = blip_tower(weights, "vision_model.", vision, read_pixels(folder, CLIP_PIXELS))
    known = text.size("vocab_size", 30524)
    ids = special_ids(
        known,
        text.token("bos_token_id", default=30522),
        text.token("sep_token_id", default=102),
        text.token("pad_token_id", default=0),
    )
    config = CaptionerConfig(
        feature_width=tower.config.width,
        feature_tokens=tower.config.feature_tokens,
        width=text.size("hidden_size", 768),
        heads=text.size("num_attention_heads", 8),
        encoder_layers=0,
        encoder_ffn=0,
        decoder_layers=text.size("num_hidden_layers", 12),
        decoder_ffn=text.size("intermediate_size", 3072),
        vocab_size=ids.vocab_size,
        max_tokens=text.size("max_position_embeddings", 512),
        bos_id=ids.bos_id,
        eos_id=ids.eos_id,
        pad_id=ids.pad_id,
        projected=False,
        decoder="bert",
        head_bias=True,
    )
    if config.width % config.heads:
        raise CheckpointError("config.json has heads that do not divide the decoder's width")
    width, key, head = config.width, "text_decoder.bert", "text_decoder.cls.predictions"
    embedding = weights.take(f"{key}.embeddings.word_embeddings.weight", known, width)
    bias = weights.take(f"{head}.bias", known)
    if f"{head}.decoder.weight" in weights:
        tied = torch.equal(weights.take(f"{head}.decoder.weight", known, width), embedding)
        if not tied:
            raise CheckpointError(f"{weights.name} has '{head}.decoder.weight' untied")
    weights.drop(r"text_decoder\.cls\.predictions\.decoder\.bias")
    weights.drop(r"text_decoder\.bert\.embeddings\.position_ids")
    parts: Part = {
        "token_embedding.weight": ids.embedding(embedding),
        "decoder_positions": weights.take(
            f"{key}.embeddings.position_embeddings.weight", config.max_tokens, width
        ),
        **under("embedding_norm", weights.norm(f"{key}.embeddings.LayerNorm", width)),
        **under("head_transform", weights.linear(f"{head}.transform.dense", width, width)),
        **under("ln_f", weights.norm(f"{head}.transform.LayerNorm", width)),
    }
    full_bias = ids.bias(bias)
    assert full_bias is not None
    parts["head_bias"] = full_bias
    for index in range(config.decoder_layers):
        block = _block(weights, f"{key}.encoder.layer.{index}", config)
        parts |= under(f"decoder_layers.{index}", block)
    weights.finish()
    captioner = Captioner(config)
    fill(captioner, parts)
    return ImportedCaptioner(tower, captioner)


def _block(weights: Weights, key: str, config: CaptionerConfig) -> Part:
    width, features, ffn = config.width, config.feature_width, config.decoder_ffn
    own, cross = f"{key}.attention", f"{key}.crossattention"
    joint = [f"{own}.self.{name}" for name in ("query", "key", "value")]
    read = [f"{cross}.self.{name}" for name in ("key", "value")]
    return {
        **under("attention", weights.joined(joint, width, width)),
        **under("attention_output", weights.linear(f"{own}.output.dense", width, width)),
        **under("ln_1", weights.norm(f"{own}.output.LayerNorm", width)),
        **under("cross_query", weights.linear(f"{cross}.self.query", width, width)),
        **under("cross_key_value", weights.joined(read, features, width)),
        **under("cross_output", weights.linear(f"{cross}.output.dense", width, width)),
        **under("ln_cross", weights.norm(f"{cross}.output.LayerNorm", width)),
        **under("intermediate", weights.linear(f"{key}.intermediate.dense", width, ffn)),
        **under("output", weights.linear(f"{key}.output.dense", ffn, width)),
        **under("ln_2", weights.norm(f"{key}.output.LayerNorm", width)),
    }
