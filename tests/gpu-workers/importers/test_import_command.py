"""`python -m dico import`: checkpoints become versions that caption, and wrong files say why."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from checkpoint_examples import (
    VISION,
    WORDS,
    Authors,
    blip,
    clip_files,
    clip_model,
    openai_names,
    shake,
    vision_encoder_decoder,
    write_clip_tokenizer,
)
from dico.base_version import BaseVersion
from dico.cli import main
from dico.export.manifest import public_key, read_version
from dico.search import beam_search
from dico.tokenizer import Tokenizer
from transformers import CLIPVisionConfig, CLIPVisionModel

KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.fixture(autouse=True)
def signing_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DICO_SIGNING_KEY", KEY)


def write_clip(folder: Path) -> Path:
    """A CLIP of OpenAI's layout with its tokenizer beside it."""
    size = write_clip_tokenizer(folder)
    torch.save(openai_names(clip_model(size)), folder / "clip.pt")
    return folder / "clip.pt"


def write_authors(folder: Path) -> None:
    size = write_clip_tokenizer(folder)
    Authors(size, shake(CLIPVisionModel(CLIPVisionConfig(**VISION)))).save(folder)


def write_hf(folder: Path) -> None:
    vision_encoder_decoder(folder, "vit", 32)


def write_blip(folder: Path) -> None:
    blip(folder)


def run(*arguments: object) -> int:
    return main(["import", *map(str, arguments)])


@pytest.mark.parametrize("write", [write_authors, write_hf, write_blip])
def test_a_captioner_becomes_a_base_version_that_captions(
    tmp_path: Path, write: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "theirs")
    clip = write_clip(tmp_path / "clip")
    out = tmp_path / "ours"
    assert run("--from", tmp_path / "theirs", "--out", out, "--evaluator", clip) == 0
    assert "onnxruntime gives PyTorch's caption on 100% of 8 pictures" in capsys.readouterr().out
    manifest = read_version(out, [public_key(KEY)])
    assert manifest.model == "ours"
    base = BaseVersion.open(out, torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(2, 3, base.image_size, base.image_size, generator=generator) * 2 - 1
    with torch.no_grad():
        found = beam_search(base.captioner, base.captioner.encode(base.tower(pixels)))
    assert all(isinstance(base.tokenizer.decode(each[0].tokens), str) for each in found)


def test_a_clip_becomes_an_evaluator_that_another_import_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path / "clip")
    assert run("--from", clip, "--out", tmp_path / "evaluator") == 0
    assert "clip: 32 px, 2 layers, quick_gelu" in capsys.readouterr().out
    write_hf(tmp_path / "theirs")
    again = ("--from", tmp_path / "theirs", "--out", tmp_path / "ours")
    assert run(*again, "--evaluator", tmp_path / "evaluator") == 0
    assert BaseVersion.open(tmp_path / "ours", torch.device("cpu")).clip is not None


class RunsCode:
    """What a pickle can do to whoever opens it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def break_nothing(folder: Path) -> Path:
    (folder / "clip.pt").write_bytes(b"nothing that PyTorch knows")
    return folder / "clip.pt"


def break_code(folder: Path) -> Path:
    torch.save({"weights": RunsCode(folder / "was-here")}, folder / "clip.pt")
    return folder / "clip.pt"


def break_missing_key(folder: Path) -> Path:
    tensors = openai_names(clip_model(len(clip_files()[0])))
    del tensors["visual.ln_post.bias"]
    torch.save(tensors, folder / "clip.pt")
    return folder / "clip.pt"


def break_odd_shape(folder: Path) -> Path:
    tensors = openai_names(clip_model(len(clip_files()[0])))
    tensors["text_projection"] = tensors["text_projection"][:5]
    torch.save(tensors, folder / "clip.pt")
    return folder / "clip.pt"


def break_other_model(folder: Path) -> Path:
    write_hf(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    return folder


def break_cut_off(folder: Path) -> Path:
    write_hf(folder)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    return folder


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (break_nothing, "clip.pt"),
        (break_code, "clip.pt"),
        (break_missing_key, "visual.ln_post.bias"),
        (break_odd_shape, "text_projection"),
        (break_other_model, "llama"),
        (break_cut_off, "model.safetensors"),
    ],
)
def test_a_wrong_file_gives_one_sentence_and_exit_code_2(
    tmp_path: Path, damage: Callable[[Path], Path], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = damage(tmp_path)
    capsys.readouterr()  # of writing the example
    assert run("--from", path, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "was-here").exists()
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_digest_is_checked_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_clip(tmp_path)
    assert run("--from", clip, "--out", tmp_path / "out", "--sha256", "0" * 64) == 2
    assert "clip.pt has the SHA-256" in capsys.readouterr().err


def test_words_are_those_of_the_tokenizer(tmp_path: Path) -> None:
    write_hf(tmp_path / "theirs")
    assert run("--from", tmp_path / "theirs", "--out", tmp_path / "ours") == 0
    tokenizer = Tokenizer.load(tmp_path / "ours" / "tokenizer.json")
    for text in WORDS:
        assert tokenizer.decode(tokenizer.encode(text)) == text
