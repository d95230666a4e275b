"""The exported graphs give what PyTorch gives, and a version says so truthfully."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnxruntime import InferenceSession
from PIL import Image

from dico.captioner import Captioner, CaptionerConfig, pad_captions, token_logps
from dico.export.graphs import decoder_graph, encoder_graph
from dico.export.layout import PublishedVersion, write_layout, write_version
from dico.export.parity import Generation, OnnxCaptioner
from dico.export.quantise import quantise_weights
from dico.export.training_state import load_training_state, round_to_fp16
from dico.pixels import load_pixels
from dico.search import beam_search
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig

SEED = base64.b64encode(bytes(range(32))).decode()
TOWER = TowerConfig(image_size=32, widths=(4, 8, 8, 12), num_kinds=7)
TOKENIZER = Tokenizer.train(["a cat and a dog on the sea", "two red birds"], vocab_size=290)
CONFIG = CaptionerConfig(
    feature_width=TOWER.feature_width,
    feature_tokens=TOWER.cells**2,
    width=24,
    heads=3,
    encoder_layers=2,
    encoder_ffn=32,
    decoder_layers=2,
    decoder_ffn=40,
    vocab_size=TOKENIZER.vocab_size,
)
HEAD_WIDTH = CONFIG.width // CONFIG.heads
CACHE = [
    f"{layer}.{kind}.{part}"
    for layer in range(CONFIG.decoder_layers)
    for kind in ("decoder", "encoder")
    for part in ("key", "value")
]


def random_tower(seed: int = 0) -> Tower:
    """Not folded; its normalisations have seen something."""
    torch.manual_seed(seed)
    tower = Tower(TOWER)
    with torch.no_grad():
        for _ in range(5):
            tower(torch.randn(4, 3, 32, 32))
    return tower.eval()


def random_captioner(seed: int = 0, vocab_size: int = CONFIG.vocab_size) -> Captioner:
    """Peaked enough that captions differ between images."""
    torch.manual_seed(seed)
    captioner = Captioner(replace(CONFIG, vocab_size=vocab_size)).eval()
    with torch.no_grad():
        captioner.ln_f.weight.normal_()  # or the tied embedding would repeat its own input
        captioner.projection.weight.mul_(4)
        captioner.token_embedding.weight.mul_(15)
        captioner.decoder_positions.mul_(40)
        for name, weight in captioner.named_parameters():
            if name.endswith(("cross_output.weight", "attention_output.weight")):
                weight.mul_(5)
    return captioner


def taught_captioner(seed: int, tower: Tower, pixels: torch.Tensor) -> Captioner:
    """Half knows a random caption of each image, so that candidates end at many lengths."""
    captioner = random_captioner(seed, vocab_size=23)
    generator = np.random.default_rng(seed)
    captions = [
        generator.integers(3, 23, n).tolist() for n in generator.integers(0, 12, len(pixels))
    ]
    input_ids, labels = pad_captions(captions, captioner.config)
    with torch.no_grad():
        features = tower(pixels)
    optimiser = torch.optim.Adam(captioner.parameters(), lr=1e-2)
    for _ in range(80):
        loss = -token_logps(captioner(features, input_ids), labels, CONFIG.pad_id).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return captioner


def session(model: onnx.ModelProto) -> InferenceSession:
    return InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def images(count: int, seed: int = 0) -> torch.Tensor:
    """Noise, each image in colours of its own."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(count, 3, 32, 32, generator=generator)
    return 0.3 * noise + torch.randn(count, 3, 4, 4, generator=generator).repeat(1, 1, 8, 8)


def empty_cache(rows: int) -> dict[str, np.ndarray]:
    shape = (rows, CONFIG.heads, 0, HEAD_WIDTH)
    return {f"past_key_values.{name}": np.zeros(shape, np.float32) for name in CACHE}


def step(
    decoder: InferenceSession,
    ids: np.ndarray,
    states: np.ndarray,
    past: dict[str, np.ndarray],
    *,
    cached: bool,
) -> dict[str, np.ndarray]:
    feeds = {
        "input_ids": ids.astype(np.int64),
        "encoder_hidden_states": states,
        "use_cache_branch": np.array([cached]),
        **past,
    }
    names = [output.name for output in decoder.get_outputs()]
    return dict(zip(names, decoder.run(None, feeds), strict=True))


def png(seed: int) -> bytes:
    rgb = np.random.default_rng(seed).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(rgb).save(stored, "PNG")
    return stored.getvalue()


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


@torch.no_grad()
def test_the_encoder_graph_equals_the_unfolded_tower_and_encoder() -> None:
    tower, captioner, pixels = random_tower(), random_captioner(), images(3)
    expected = captioner.encode(tower(pixels)).numpy()
    graph = encoder_graph(tower.fold(), captioner)
    (found,) = session(graph).run(None, {"pixel_values": pixels.numpy()})
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_tower_that_is_not_folded_is_refused() -> None:
    with pytest.raises(ValueError, match="BatchNorm"):
        encoder_graph(random_tower(), random_captioner())


@pytest.mark.parametrize(("image_count", "beams"), [(1, 1), (1, 5), (3, 1), (3, 4)])
@torch.no_grad()
def test_cached_and_uncached_decoding_equal_pytorch(image_count: int, beams: int) -> None:
    """Beams of one image share its encoder row; so they do in each step of the cache."""
    captioner = random_captioner()
    decoder = session(decoder_graph(captioner))
    states = torch.randn(image_count, CONFIG.feature_tokens, CONFIG.width)
    ids = torch.randint(0, CONFIG.vocab_size, (image_count * beams, 9))
    hidden, _ = captioner.decode_states(ids, captioner.cross_cache(states))
    expected = captioner.logits(hidden).numpy()

    rows = image_count * beams
    whole = step(decoder, ids.numpy(), states.numpy(), empty_cache(rows), cached=False)
    np.testing.assert_allclose(whole["logits"], expected, atol=1e-4)

    past, found = empty_cache(rows), []
    for start, end in ((0, 1), (1, 2), (2, 6), (6, 9)):  # more than one token at a time as well
        result = step(decoder, ids[:, start:end].numpy(), states.numpy(), past, cached=start > 0)
        found.append(result["logits"])
        past = {f"past_key_values.{name}": result[f"present.{name}"] for name in CACHE}
    np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-4)


@torch.no_grad()
def test_the_cached_branch_reads_no_encoder_states() -> None:
    decoder = session(decoder_graph(random_captioner()))
    states = torch.randn(2, CONFIG.feature_tokens, CONFIG.width).numpy()
    first = step(decoder, np.zeros((2, 1)), states, empty_cache(2), cached=False)
    past = {f"past_key_values.{name}": first[f"present.{name}"] for name in CACHE}
    real = step(decoder, np.ones((2, 1)), states, past, cached=True)
    dummy = np.full((2, 1, CONFIG.width), np.nan, np.float32)
    blind = step(decoder, np.ones((2, 1)), dummy, past, cached=True)
    np.testing.assert_array_equal(blind["logits"], real["logits"])


@torch.no_grad()
def test_a_first_step_ignores_whatever_its_cache_holds() -> None:
    """Optimum feeds one meaningless cached token to the first step."""
    decoder = session(decoder_graph(random_captioner()))
    states = torch.randn(1, CONFIG.feature_tokens, CONFIG.width).numpy()
    empty = step(decoder, np.zeros((1, 3)), states, empty_cache(1), cached=False)
    noise = {
        name: np.full((1, CONFIG.heads, 1, HEAD_WIDTH), 3, np.float32) for name in empty_cache(1)
    }
    noisy = step(decoder, np.zeros((1, 3)), states, noise, cached=False)
    for name, value in empty.items():
        np.testing.assert_array_equal(noisy[name], value)


@torch.no_grad()
def test_the_ranked_outputs_are_the_last_positions_log_softmax() -> None:
    decoder = session(decoder_graph(random_captioner()))
    states = torch.randn(1, CONFIG.feature_tokens, CONFIG.width).numpy()
    ids = np.arange(8).reshape(2, 4)
    result = step(decoder, ids, states, empty_cache(2), cached=False)
    logps = torch.from_numpy(result["logits"][:, -1]).log_softmax(-1)
    values, tokens = logps.topk(16, dim=-1)
    np.testing.assert_allclose(result["topk_logprobs"], values.numpy(), atol=1e-5)
    np.testing.assert_array_equal(result["topk_ids"], tokens.numpy())


@torch.no_grad()
def test_a_vocabulary_smaller_than_the_ranking_is_ranked_whole() -> None:
    decoder = session(decoder_graph(random_captioner(vocab_size=11)))
    states = torch.randn(1, CONFIG.feature_tokens, CONFIG.width).numpy()
    result = step(decoder, np.zeros((1, 1)), states, empty_cache(1), cached=False)
    assert sorted(result["topk_ids"][0].tolist()) == list(range(11))


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


@torch.no_grad()
def test_quantised_graphs_are_smaller_and_stay_close() -> None:
    tower, captioner = random_tower().fold(), random_captioner()
    exact = encoder_graph(tower, captioner), decoder_graph(captioner)
    small = [quantise_weights(model) for model in exact]
    for model, quantised in zip(exact, small, strict=True):
        onnx.checker.check_model(quantised, full_check=True)
        weights = sum(len(weight.raw_data) for weight in model.graph.initializer)
        assert sum(len(weight.raw_data) for weight in quantised.graph.initializer) < weights / 2
    pixels = images(4).numpy()
    states, rounded = (
        session(model).run(None, {"pixel_values": pixels})[0] for model in (exact[0], small[0])
    )
    assert 0 < np.abs(rounded - states).max() < 0.2
    ids = np.arange(20).reshape(4, 5)
    logits, rounded = (
        step(session(model), ids, states, empty_cache(4), cached=False)["logits"]
        for model in (exact[1], small[1])
    )
    assert 0 < np.abs(rounded - logits).max() < 0.05 * np.abs(logits).max()


def test_a_published_tensor_is_at_most_half_a_step_from_its_weight() -> None:
    captioner = random_captioner()
    quantised = quantise_weights(decoder_graph(captioner))
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in quantised.graph.initializer}
    scale = tensors["token_embedding_scale"]  # [V, 1]
    restored = tensors["token_embedding_int8"] * scale
    error = np.abs(restored - captioner.token_embedding.weight.detach().numpy())
    assert (error <= scale * 0.501).all()


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
