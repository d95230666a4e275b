"""Each public layout, read by us, computes what Hugging Face's implementation computes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from checkpoint_examples import (
    MEAN,
    STD,
    VISION,
    Authors,
    blip,
    clip_model,
    openai_names,
    pixels,
    shake,
    theirs,
    vision_encoder_decoder,
    write_clip_tokenizer,
)
from dico.evaluators.public_clip import PublicClip, PublicClipConfig, TextConfig
from dico.importers.captions import ImportedCaptioner
from dico.importers.checkpoints import read_checkpoint
from dico.towers.vit import VitConfig
from safetensors.torch import save_file
from transformers import CLIPModel, CLIPVisionConfig, CLIPVisionModel

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
VOCAB = 60


def texts(bos_id: int, eos_id: int) -> torch.Tensor:
    """Of different lengths, some with the same beginning, ends padded with the end."""
    ids = torch.randint(3, 6, (20, 9), generator=torch.Generator().manual_seed(1))
    ids[:, 0] = bos_id
    for row in range(len(ids)):
        ids[row, (3, 5, 8, 9)[row % 4] - 1 :] = eos_id
    return ids


@torch.no_grad()
def same_clip(imported: PublicClip, reference: CLIPModel) -> None:
    ids = texts(VOCAB - 2, VOCAB - 1)
    expected = reference(input_ids=ids, pixel_values=theirs(pixels()))
    torch.testing.assert_close(
        imported.embed_images(pixels()), expected.image_embeds, atol=1e-4, rtol=0
    )
    torch.testing.assert_close(imported.embed_texts(ids), expected.text_embeds, atol=1e-4, rtol=0)
    torch.testing.assert_close(
        imported(pixels(), ids), expected.logits_per_image, atol=1e-4, rtol=1e-4
    )
    assert expected.image_embeds.std(dim=0).max() > 0.01  # or every image would look the same


@torch.no_grad()
def test_a_text_that_goes_on_ends_where_clip_reads_no_further() -> None:
    torch.manual_seed(0)
    text = TextConfig(8, 2, 2, 8, "gelu", 1e-5, VOCAB, 5, VOCAB - 2, VOCAB - 1)
    vision = VitConfig(image_size=8, patch_size=4, width=8, layers=1, heads=2, ffn=8)
    clip = PublicClip(PublicClipConfig(vision, text, embed_width=4))
    ends = torch.tensor([[VOCAB - 2, 3, 4, 5, VOCAB - 1]])
    goes_on = torch.tensor([[VOCAB - 2, 3, 4, 5, 6]])
    torch.testing.assert_close(clip.embed_texts(goes_on), clip.embed_texts(ends))


def read_clip(path: Path, kind: str) -> PublicClip:
    content = read_checkpoint(path, kind).content
    assert isinstance(content, PublicClip)
    return content


@pytest.mark.parametrize("wrapped", ["bare", "state_dict", "module", "safetensors"])
def test_openai_state_dicts(tmp_path: Path, wrapped: str) -> None:
    model = clip_model(VOCAB)
    tensors = openai_names(model)
    tensors["input_resolution"] = torch.tensor(32)
    path = tmp_path / ("clip.safetensors" if wrapped == "safetensors" else "clip.pt")
    if wrapped == "safetensors":
        save_file(tensors, path)
    elif wrapped == "module":
        torch.save({"state_dict": {f"module.{k}": v for k, v in tensors.items()}}, path)
    else:
        torch.save(
            {"state_dict": tensors, "epoch": 3} if wrapped == "state_dict" else tensors,
            path,
        )
    same_clip(read_clip(path, "auto"), model)


def test_open_clip_has_the_exact_gelu(tmp_path: Path) -> None:
    model = clip_model(VOCAB, activation="gelu")
    torch.save(openai_names(model), tmp_path / "open_clip_pytorch_model.bin")
    same_clip(read_clip(tmp_path / "open_clip_pytorch_model.bin", "open-clip"), model)


def test_open_clip_config_says_what_the_weights_do_not(tmp_path: Path) -> None:
    model = clip_model(VOCAB)
    torch.save(openai_names(model), tmp_path / "weights.bin")
    (tmp_path / "open_clip_config.json").write_text(
        '{"model_cfg": {"quick_gelu": true, "vision_cfg": {"head_width": 64},'
        ' "text_cfg": {"width": 128, "heads": 2}}, "preprocess_cfg":'
        f' {{"mean": {list(MEAN)}, "std": {list(STD)}}}}}'
    )
    same_clip(read_clip(tmp_path / "weights.bin", "auto"), model)


def test_hugging_face_clip(tmp_path: Path) -> None:
    model = clip_model(VOCAB)
    model.save_pretrained(tmp_path)
    same_clip(read_clip(tmp_path, "hf"), model)


def test_low_rank_updates_of_attention_count_once_and_those_of_mlps_are_there_already(
    tmp_path: Path,
) -> None:
    """The published evaluator adds attention's at each pass, times 1 / 4; the rest is merged."""
    model = clip_model(VOCAB)
    tensors = openai_names(model)
    generator = torch.Generator().manual_seed(5)

    def pair(stem: str, outputs: int, inputs: int) -> torch.Tensor:
        tensors[f"{stem}lora_A"] = torch.randn(4, inputs, generator=generator) * 0.2
        tensors[f"{stem}lora_B"] = torch.randn(outputs, 4, generator=generator) * 0.2
        return tensors[f"{stem}lora_B"] @ tensors[f"{stem}lora_A"] / 4

    with torch.no_grad():
        for tower, prefix, width in (
            (model.vision_model, "visual.transformer", 64),
            (model.text_model, "transformer", 128),
        ):
            for index, layer in enumerate(tower.encoder.layers):
                key = f"{prefix}.resblocks.{index}"
                update = pair(f"{key}.attn.in_proj_weight_", 3 * width, width)
                attention = layer.self_attn
                for part, name in zip(update.chunk(3), "qkv", strict=True):
                    getattr(attention, f"{name}_proj").weight.add_(part)
                attention.out_proj.weight.add_(pair(f"{key}.attn.out_proj.", width, width))
                pair(f"{key}.mlp.c_fc.", layer.mlp.fc1.out_features, width)
    tensors["visual.conv1.conv.weight"] = tensors.pop("visual.conv1.weight")
    tensors["visual.conv1.lora_A"] = torch.randn(4 * 16, 3 * 16)
    tensors["visual.conv1.lora_B"] = torch.randn(64 * 16, 4 * 16)
    torch.save({"state_dict": tensors}, tmp_path / "PAC++_clip.pth")
    same_clip(read_clip(tmp_path / "PAC++_clip.pth", "pac"), model)


@torch.no_grad()
def same_captioner(
    imported: ImportedCaptioner, expected: torch.Tensor, ids: torch.Tensor, start: int
) -> None:
    """Logits of the ids that the checkpoint knows; the first id is the one that begins captions."""
    captioner, config = imported.captioner, imported.captioner.config
    own = ids.clone()
    assert (ids[:, 0] == start).all()
    own[:, 0] = config.bos_id
    logits = captioner(imported.tower(pixels()), own)
    known = expected.shape[-1]
    torch.testing.assert_close(logits[..., :known], expected, atol=1e-4, rtol=1e-4)
    assert expected.std() > 0.1
    assert (expected[0] - expected[1]).abs().max() > 1e-2  # the picture matters
    assert len({config.bos_id, config.eos_id, config.pad_id}) == 3
    added = logits[..., known:]  # may be there, but is never said
    assert added.numel() == 0 or added.max() < -9e3


def caption_ids(start: int) -> torch.Tensor:
    ids = torch.randint(5, 60, (3, 7), generator=torch.Generator().manual_seed(2))
    ids[:, 0] = start
    return ids


@pytest.mark.parametrize("width", [64, 32], ids=["same-width", "projected"])
@pytest.mark.parametrize(
    ("kind", "own"), [("vit", HALF), ("deit", IMAGENET), ("clip", (MEAN, STD))]
)
@torch.no_grad()
def test_vision_encoder_decoder(
    tmp_path: Path,
    kind: str,
    own: tuple[tuple[float, ...], tuple[float, ...]],
    width: int,
) -> None:
    model = vision_encoder_decoder(tmp_path, kind, width)
    start = model.config.decoder_start_token_id
    ids = caption_ids(start)
    expected = model(pixel_values=theirs(pixels(), *own), decoder_input_ids=ids).logits
    content = read_checkpoint(tmp_path).content
    assert isinstance(content, ImportedCaptioner)
    same_captioner(content, expected, ids, start)


@torch.no_grad()
def test_the_authors_captioner(tmp_path: Path) -> None:
    vocab_size = write_clip_tokenizer(tmp_path)
    vision = shake(CLIPVisionModel(CLIPVisionConfig(**VISION)))
    authors = Authors(vocab_size, vision)
    authors.save(tmp_path)
    ids = caption_ids(vocab_size - 2)
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.kind == "dico"
    assert isinstance(checkpoint.content, ImportedCaptioner)
    config = checkpoint.content.captioner.config
    assert (config.bos_id, config.eos_id, config.pad_id) == (
        vocab_size - 2, vocab_size - 1, vocab_size,
    )  # fmt: skip
    assert not config.head_bias
    same_captioner(checkpoint.content, authors.logits(theirs(pixels()), ids), ids, vocab_size - 2)


@torch.no_grad()
def test_blip(tmp_path: Path) -> None:
    model = blip(tmp_path)
    start = model.config.text_config.bos_token_id
    ids = caption_ids(start)
    states = model.vision_model(theirs(pixels())).last_hidden_state
    expected = model.text_decoder(input_ids=ids, encoder_hidden_states=states).logits
    content = read_checkpoint(tmp_path).content
    assert isinstance(content, ImportedCaptioner)
    same_captioner(content, expected, ids, start)
