"""A version holds what it was written from, and says truthfully how close it comes."""

from __future__ import annotations

import base64
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from dico.captioner import Captioner
from dico.export.graphs import decoder_graph, encoder_graph
from dico.export.layout import ProbeError, PublishedVersion, write_layout, write_version
from dico.export.manifest import VersionError, public_key, read_version
from dico.export.parity import Generation, OnnxCaptioner
from dico.export.training_state import (
    load_training_state,
    round_to_fp16,
    save_training_state,
)
from dico.pixels import load_pixels
from dico.search import beam_search
from export_examples import (
    CONFIG,
    TOKENIZER,
    TOWER,
    images,
    png,
    random_captioner,
    random_tower,
    taught_captioner,
)

SEED = base64.b64encode(bytes(range(32))).decode()


def write(folder: Path, captioner: Captioner | None = None) -> PublishedVersion:
    return write_version(
        folder,
        random_tower(),
        captioner or random_captioner(),
        TOKENIZER.to_json().encode(),
        model="scenes",
        probe_images=[png(seed) for seed in range(8)],
        parity_pixels=images(12).numpy(),
        signing_seed=SEED,
        with_training_state=True,
    )


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PublishedVersion]:
    folder = tmp_path_factory.mktemp("version")
    return folder, write(folder)


@pytest.mark.parametrize("seed", range(3))
def test_beams_are_token_exact(tmp_path: Path, seed: int) -> None:
    """Ten beams need more than the graph ranks, and go through the logits."""
    tower, pixels = random_tower().fold(), images(8, seed)
    captioner = taught_captioner(seed, tower, pixels)
    write_layout(tmp_path, tower, captioner, b"{}", Generation())
    exported = OnnxCaptioner(tmp_path)
    with torch.no_grad():
        states = captioner.encode(tower(pixels))
    endings: set[tuple[int, bool]] = set()
    for beams in (1, 3, 5, 10):
        for max_new_tokens in (5, 20):
            generation = Generation(beams, max_new_tokens, length_penalty=0.8)
            found = exported.caption(pixels.numpy(), generation)
            expected = beam_search(captioner, states, **asdict(generation))
            for mine, theirs in zip(found, expected, strict=True):
                assert [c.tokens for c in mine] == [c.tokens for c in theirs]
                assert [c.finished for c in mine] == [c.finished for c in theirs]
                scores = [c.score for c in theirs]
                np.testing.assert_allclose([c.score for c in mine], scores, rtol=1e-4)
                endings |= {(len(c.tokens), c.finished) for c in theirs}
    assert {finished for _, finished in endings} == {True, False}
    assert len(endings) >= 6  # captions of many lengths, or the search was hardly tried


def test_rounding_keeps_what_fp16_can_hold_and_refuses_the_rest() -> None:
    captioner = random_captioner()
    round_to_fp16(captioner)
    once = [weight.clone() for weight in captioner.parameters()]
    round_to_fp16(captioner)
    assert all(torch.equal(a, b) for a, b in zip(once, captioner.parameters(), strict=True))
    with torch.no_grad():
        captioner.ln_f.weight[0] = 1e6
    with pytest.raises(ValueError, match="fp16"):
        round_to_fp16(captioner)


def test_the_layout_is_complete(version: tuple[Path, PublishedVersion]) -> None:
    folder, published = version
    assert [file.path for file in published.files] == [
        "config.json",
        "generation_config.json",
        "onnx/decoder_model_merged.onnx",
        "onnx/decoder_model_merged_quantized.onnx",
        "onnx/encoder_model.onnx",
        "onnx/encoder_model_quantized.onnx",
        "preprocessor_config.json",
        "probe.png",
        "tokenizer.json",
        "tokenizer_config.json",
        "training/config.json",
        "training/model.safetensors",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "vision-encoder-decoder"
    assert config["decoder"]["model_type"] == "trocr"
    assert (config["decoder_start_token_id"], config["eos_token_id"]) == (0, 1)
    parity = published.manifest.parity
    assert (parity["images"], parity["token_exact_fp32"]) == (12, 1)
    assert parity["max_abs_logit_diff"] < 1e-3


def test_the_probe_is_answered_as_promised(version: tuple[Path, PublishedVersion]) -> None:
    folder, published = version
    probe = published.manifest.probe
    pixels = load_pixels((folder / probe.image).read_bytes(), TOWER.image_size)[None]
    best = OnnxCaptioner(folder).caption(pixels)[0][0]
    assert [*best.tokens, *[CONFIG.eos_id] * best.finished] == probe.expected_tokens
    assert TOKENIZER.decode(best.tokens) == probe.expected_caption


@torch.no_grad()
def test_training_state_gives_back_the_served_weights(
    version: tuple[Path, PublishedVersion],
) -> None:
    folder, _ = version
    tower, captioner = load_training_state(folder)
    graph = encoder_graph(tower, captioner).SerializeToString(deterministic=True)
    assert graph == (folder / "onnx/encoder_model.onnx").read_bytes()
    graph = decoder_graph(captioner).SerializeToString(deterministic=True)
    assert graph == (folder / "onnx/decoder_model_merged.onnx").read_bytes()


def test_the_same_weights_make_the_same_version(
    version: tuple[Path, PublishedVersion], tmp_path: Path
) -> None:
    again = write(tmp_path)
    assert (again.version_id, again.signature) == (version[1].version_id, version[1].signature)
    assert write(tmp_path) == again  # a job that is resumed writes over its own folder


def test_without_a_clear_probe_nothing_is_published(tmp_path: Path) -> None:
    """A model that finds all captions equally good has no caption that every runtime finds."""
    write(tmp_path)
    blank = random_captioner()
    with torch.no_grad():
        blank.token_embedding.weight.zero_()
    with pytest.raises(ProbeError):
        write(tmp_path, blank)
    with pytest.raises(VersionError, match="missing"):
        read_version(tmp_path, [public_key(SEED)])


def test_a_bad_key_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        write_version(
            tmp_path,
            random_tower(),
            random_captioner(),
            b"{}",
            model="scenes",
            probe_images=[],
            parity_pixels=images(1).numpy(),
            signing_seed="short",
        )
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_rounded_have_no_training_state(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not rounded"):
        save_training_state(tmp_path, random_tower().fold(), random_captioner())


def test_a_training_state_of_another_shape_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "training/config.json"
    path.write_text(path.read_text().replace('"num_kinds"', '"kinds"'))
    with pytest.raises(ValueError, match="TowerConfig"):
        load_training_state(tmp_path)
