"""The exported graphs compute what PyTorch computes."""

from __future__ import annotations

import io

import numpy as np
import onnx
import pytest
import torch
from dico.captioner import Captioner
from dico.export.graphs import decoder_graph, encoder_graph
from dico.export.quantise import quantise_weights
from export_examples import CONFIG, images, random_captioner, random_tower
from onnxruntime import InferenceSession

HEAD_WIDTH = CONFIG.width // CONFIG.heads
CACHE = [
    f"{layer}.{kind}.{part}"
    for layer in range(CONFIG.decoder_layers)
    for kind in ("decoder", "encoder")
    for part in ("key", "value")
]


def session(model: onnx.ModelProto) -> InferenceSession:
    return InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


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


@pytest.mark.filterwarnings("ignore")  # the tracing exporter is deprecated, and says so
def test_graphs_equal_the_ones_that_torch_traces() -> None:
    tower, captioner = random_tower().fold(), random_captioner()
    whole = torch.nn.Sequential(tower, Encoding(captioner))
    pixels, ids = images(2), torch.arange(10).reshape(2, 5)
    traced = io.BytesIO()
    torch.onnx.export(whole, (pixels,), traced, dynamo=False, input_names=["pixel_values"])
    mine = session(encoder_graph(tower, captioner)).run(None, {"pixel_values": pixels.numpy()})[0]
    feeds = {"pixel_values": pixels.numpy()}
    theirs = InferenceSession(traced.getvalue()).run(None, feeds)[0]
    np.testing.assert_allclose(mine, theirs, atol=2e-5)

    traced = io.BytesIO()
    inputs = ["states", "ids"]
    example = (torch.from_numpy(mine), ids)
    torch.onnx.export(Decoding(captioner), example, traced, dynamo=False, input_names=inputs)
    feeds = {"states": mine, "ids": ids.numpy()}
    theirs = InferenceSession(traced.getvalue()).run(None, feeds)[0]
    decoder = session(decoder_graph(captioner))
    found = step(decoder, ids.numpy(), mine, empty_cache(2), cached=False)
    np.testing.assert_allclose(found["logits"], theirs, atol=1e-4)


class Encoding(torch.nn.Module):
    """The captioner's encoder as a module of its own."""

    def __init__(self, captioner: Captioner) -> None:
        super().__init__()
        self.captioner = captioner

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[E, S, F] -> [E, S, d]."""
        return self.captioner.encode(features)


class Decoding(Encoding):
    """Teacher-forced logits from the encoder's states."""

    def forward(self, states: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        """[E, S, d] and [N, T] -> [N, T, V]."""
        hidden, _ = self.captioner.decode_states(ids, self.captioner.cross_cache(states))
        return self.captioner.logits(hidden)


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
