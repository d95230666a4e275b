"""Small random checkpoints of every class that is imported, and what Hugging Face makes of them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    BlipConfig,
    BlipForConditionalGeneration,
    CLIPConfig,
    CLIPModel,
    CLIPVisionConfig,
    DeiTConfig,
    GPT2Config,
    GPT2LMHeadModel,
    VisionEncoderDecoderConfig,
    VisionEncoderDecoderModel,
    ViTConfig,
)

logging.getLogger("transformers").setLevel(logging.ERROR)

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
WORDS = [
    "a cat and a dog on the sea",
    "two red birds, and one mouse",
    "it is Night in the city.",
]
SIDE = 32
VISION = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": SIDE,
    "patch_size": 16,
}


def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Weights large enough that every one of them moves the result."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in module.named_parameters():
            noise = torch.randn(value.shape, generator=generator)
            if name.endswith("logit_scale"):
                value.fill_(2.0)
            elif "norm" in name.lower() or ".ln_" in name:
                value.copy_(0.2 * noise + (1.0 if name.endswith("weight") else 0.0))
            else:
                value.copy_(noise * (0.2 if value.dim() > 1 else 0.1))
    return module.eval()


def pixels(count: int = 3, seed: int = 0, side: int = SIDE) -> Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def theirs(values: Tensor, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> Tensor:
    """Our pixels in [-1, 1] as a checkpoint's own preprocessing gives them."""
    return (values * 0.5 + 0.5 - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[
        :, None, None
    ]


# Tokenizers, trained on a few words so that they are small.


def clip_files() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's vocab.json and merges: bytes, bytes at a word's end, merges, start and end."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [
        ("c", "a"),
        ("ca", "t</w>"),
        ("d", "o"),
        ("do", "g</w>"),
        ("t", "h"),
        ("th", "e</w>"),
    ]
    tokens = alphabet + [f"{a}</w>" for a in alphabet] + ["".join(pair) for pair in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: index for index, token in enumerate(tokens)}, merges


def write_clip_tokenizer(folder: Path) -> int:
    vocab, merges = clip_files()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    return len(vocab)


def write_gpt2_tokenizer(folder: Path) -> int:
    """GPT-2's form: one special token, the last."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        WORDS,
        trainers.BpeTrainer(vocab_size=280, initial_alphabet=alphabet, show_progress=False),
    )
    model = json.loads(bpe.to_str())["model"]
    vocab = model["vocab"] | {"<|endoftext|>": len(model["vocab"])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("\n".join(" ".join(pair) for pair in model["merges"]))
    return len(vocab)


def write_word_pieces(folder: Path) -> int:
    letters = "abcdefghijklmnopqrstuvwxyz"
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *letters,
        *(f"##{c}" for c in letters),
    ]
    pieces += [
        "cat",
        "dog",
        "the",
        "on",
        "##ing",
        ".",
        ",",
        "'",
        "!",
        "?",
        "-",
        "do",
        "not",
        "42",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n")
    return len(pieces)


# Checkpoints.


def clip_model(vocab_size: int, *, activation: str = "quick_gelu", seed: int = 0) -> CLIPModel:
    """Widths of 64 and heads of 64, as OpenAI's layout needs."""
    sizes = VISION | {"num_attention_heads": 1, "hidden_act": activation}
    text = {
        "hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 2,
        "num_attention_heads": 2, "vocab_size": vocab_size, "max_position_embeddings": 24,
        "bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1, "hidden_act": activation,
    }  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=sizes, projection_dim=48)
    return shake(CLIPModel(config), seed)


def openai_names(model: CLIPModel) -> dict[str, Tensor]:
    """The same weights under OpenAI's names and in its forms."""
    source = model.state_dict()
    result = {
        "visual.class_embedding": source["vision_model.embeddings.class_embedding"],
        "visual.conv1.weight": source["vision_model.embeddings.patch_embedding.weight"],
        "visual.positional_embedding": source["vision_model.embeddings.position_embedding.weight"],
        "visual.proj": source["visual_projection.weight"].T.contiguous(),
        "text_projection": source["text_projection.weight"].T.contiguous(),
        "token_embedding.weight": source["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": source["text_model.embeddings.position_embedding.weight"],
        "logit_scale": source["logit_scale"],
    }
    norms = {
        "visual.ln_pre": "vision_model.pre_layrnorm",
        "visual.ln_post": "vision_model.post_layernorm",
        "ln_final": "text_model.final_layer_norm",
    }
    for tower, prefix in (
        ("vision_model", "visual.transformer"),
        ("text_model", "transformer"),
    ):
        for index in range(2):
            theirs_, ours = (
                f"{tower}.encoder.layers.{index}",
                f"{prefix}.resblocks.{index}",
            )
            for part in ("weight", "bias"):
                result[f"{ours}.attn.in_proj_{part}"] = torch.cat(
                    [source[f"{theirs_}.self_attn.{name}_proj.{part}"] for name in "qkv"]
                )
            norms |= {
                f"{ours}.attn.out_proj": f"{theirs_}.self_attn.out_proj",
                f"{ours}.ln_1": f"{theirs_}.layer_norm1",
                f"{ours}.ln_2": f"{theirs_}.layer_norm2",
                f"{ours}.mlp.c_fc": f"{theirs_}.mlp.fc1",
                f"{ours}.mlp.c_proj": f"{theirs_}.mlp.fc2",
            }
    for ours, name in norms.items():
        result |= {f"{ours}.{part}": source[f"{name}.{part}"] for part in ("weight", "bias")}
    return {key: value.clone() for key, value in result.items()}


def gpt2_config(vocab_size: int, width: int) -> GPT2Config:
    return GPT2Config(
        n_embd=width, n_layer=2, n_head=4, n_positions=40, vocab_size=vocab_size,
        add_cross_attention=True, is_decoder=True, bos_token_id=vocab_size - 1,
        eos_token_id=vocab_size - 1,
    )  # fmt: skip


def vision_encoder_decoder(folder: Path, kind: str, width: int) -> VisionEncoderDecoderModel:
    """GPT-2 begins, ends and pads with one token, as public ones do."""
    vocab_size = write_gpt2_tokenizer(folder)
    encoder = {"vit": ViTConfig, "deit": DeiTConfig, "clip": CLIPVisionConfig}[kind](**VISION)
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        encoder, gpt2_config(vocab_size, width)
    )
    end = vocab_size - 1
    config.decoder_start_token_id = config.pad_token_id = config.eos_token_id = end
    model = shake(VisionEncoderDecoderModel(config=config))
    model.save_pretrained(folder)
    return model


class Authors:
    """The captioner of the paper's authors, put together from the classes that theirs wraps."""

    def __init__(self, vocab_size: int, vision: nn.Module) -> None:
        self.vision = vision
        self.projection = shake(nn.Linear(VISION["hidden_size"], 32), 1)
        sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        self.bert = shake(BertModel(BertConfig(**sizes, intermediate_size=48)), 2)
        config = gpt2_config(vocab_size + 1, 32)
        config.bos_token_id, config.eos_token_id = vocab_size - 2, vocab_size - 1
        config.pad_token_id = vocab_size
        self.decoder = shake(GPT2LMHeadModel(config), 3)

    @torch.no_grad()
    def logits(self, values: Tensor, ids: Tensor) -> Tensor:
        seen = self.projection(self.vision(values).last_hidden_state)
        states = self.bert(inputs_embeds=seen).last_hidden_state
        return self.decoder(ids, encoder_hidden_states=states).logits

    def save(self, folder: Path) -> None:
        modules = {
            "encoder.vision_encoder": self.vision,
            "encoder.vis_enc_to_enc_proj": self.projection,
            "encoder.encoder": self.bert,
            "decoder": self.decoder,
        }
        tensors = {
            f"{prefix}.{name}": value
            for prefix, module in modules.items()
            for name, value in module.state_dict().items()
        }
        for index in range(2):
            attention = f"decoder.transformer.h.{index}.attn"
            tensors[f"{attention}.bias"] = torch.ones(1, 1, 40, 40, dtype=torch.uint8)
            tensors[f"{attention}.masked_bias"] = torch.tensor(-1e4)
        config: dict[str, Any] = {
            "model_type": "vision-encoder-decoder",
            "decoder_start_token_id": self.decoder.config.bos_token_id,
            "eos_token_id": self.decoder.config.eos_token_id,
            "pad_token_id": self.decoder.config.pad_token_id,
            "encoder": {
                "model_type": "vision-encoder-encoder",
                "vision_encoder": self.vision.config.to_dict(),
                "encoder": self.bert.config.to_dict(),
            },
            "decoder": self.decoder.config.to_dict(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(tensors, folder / "pytorch_model.bin")
        (folder / "config.json").write_text(json.dumps(config))


def blip(folder: Path) -> BlipForConditionalGeneration:
    """Two ids more than its tokenizer has, as public ones: start and an unused one."""
    known = write_word_pieces(folder)
    text = {
        "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "encoder_hidden_size": 64,
        "num_attention_heads": 4, "vocab_size": known + 2, "max_position_embeddings": 40,
        "bos_token_id": known, "sep_token_id": 3, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    model = BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION))
    shake(model)
    model.save_pretrained(folder)
    return model
