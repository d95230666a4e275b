"""Evaluators: what they read, what their training asks of them, what their file keeps."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from dico.evaluators.clip import Clip, ClipConfig, waves
from dico.evaluators.storage import load_evaluators, save_evaluators
from dico.pretraining.evaluators import (
    CORRUPTED,
    TextStream,
    contrastive_loss,
    corruption_loss,
    evaluator_tokens,
    pool_by_length,
)
from dico.pretraining.measure import measure_evaluator
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig
from safetensors import safe_open
from safetensors.torch import save_file
from scenes.grammar import human_captions
from scenes.sampler import sample_scene

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One trained on a few captions."""
    return Tokenizer.train(
        [text for seed in range(200) for text in human_captions(sample_scene(seed))],
        400,
    )


def small(vocab_size: int = 400, feature_width: int = 12) -> Clip:
    """A small evaluator of nine cells with seeded weights."""
    torch.manual_seed(0)
    config = ClipConfig(
        feature_width=feature_width,
        feature_tokens=9,
        width=32,
        heads=2,
        ffn=32,
        vocab_size=vocab_size,
        max_tokens=48,
    )
    return Clip(config).eval()


def test_a_corruption_scored_like_its_caption_costs_log_two() -> None:
    """-log sigmoid(0) for each of the three; ln(1 + e^-2) where the caption leads by 2."""
    image, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    scale = torch.tensor(math.log(2.0))
    same = corruption_loss(image, image, image.expand(1, 3, 2), scale)
    assert same.item() == pytest.approx(3 * math.log(2))
    led = corruption_loss(image, image, other[:, None], scale)
    assert led.item() == pytest.approx(math.log1p(math.exp(-2)))


def test_pictures_that_cannot_tell_captions_apart_cost_log_of_the_batch() -> None:
    """All scores equal: cross-entropy over four of them, in both directions."""
    vectors = torch.tensor([[1.0, 0.0]]).expand(4, 2)
    loss = contrastive_loss(vectors, vectors, torch.tensor(1.0))
    assert loss.item() == pytest.approx(math.log(4))


def test_waves_are_orthonormal_and_begin_with_the_mean() -> None:
    """Six moments of an 8 x 8 grid; then left against right, top against bottom."""
    six = waves(6, 64)
    torch.testing.assert_close(six @ six.T, torch.eye(6))
    torch.testing.assert_close(six[0], torch.full((64,), 0.125))
    across, down = six[1].view(8, 8), six[2].view(8, 8)
    torch.testing.assert_close(across, across[:1].expand(8, 8))
    torch.testing.assert_close(across, -across.flip(1))
    torch.testing.assert_close(down, across.T)


def test_padding_changes_no_embedding(tokenizer: Tokenizer) -> None:
    """Nor does reading captions in parts of like length."""
    clip = small(tokenizer.vocab_size)
    texts = [text for seed in range(12) for text in human_captions(sample_scene(seed))]
    tokens = evaluator_tokens(tokenizer, texts)
    alone = torch.cat([clip.pool_texts(evaluator_tokens(tokenizer, [text])) for text in texts])
    torch.testing.assert_close(clip.pool_texts(tokens), alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(pool_by_length(clip, tokens), alone, atol=1e-5, rtol=1e-4)


def test_the_stream_goes_on_where_it_stopped(tokenizer: Tokenizer) -> None:
    """A resumed training sees what an uninterrupted one would."""

    def stream(step: int) -> TextStream:
        return TextStream(tokenizer, count=40, batch=4, seed=3, step=step)

    whole, resumed = iter(stream(0)), iter(stream(2))
    next(whole)
    next(whole)
    for (rows, tokens), (rows_again, tokens_again), _ in zip(
        whole, resumed, range(3), strict=False
    ):
        assert torch.equal(rows, rows_again)
        assert torch.equal(tokens, tokens_again)
        assert tokens.shape[0] == 4 * (2 + CORRUPTED)


def test_training_teaches_to_rank_fresh_errors_below_the_truth(
    tokenizer: Tokenizer,
) -> None:
    """On eight pictures told apart by their features, within 100 steps."""
    features = torch.randn(8, 9, 12, generator=torch.Generator().manual_seed(1))
    clip = small(tokenizer.vocab_size).train()
    optimiser = torch.optim.AdamW(clip.parameters(), lr=4e-3)
    stream = iter(TextStream(tokenizer, count=8, batch=8, seed=1, step=0))
    right_above: list[float] = []
    for _ in range(100):
        rows, tokens = next(stream)
        images = clip.embed_images(features[rows])
        texts = clip.project_texts(pool_by_length(clip, tokens)).view(8, 2 + CORRUPTED, -1)
        loss = contrastive_loss(images, texts[:, 0], clip.logit_scale) + corruption_loss(
            images, texts[:, 0], texts[:, 2:], clip.logit_scale
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        scores = (texts @ images[..., None]).squeeze(-1)
        right_above.append(float((scores[:, :1] > scores[:, 2:]).float().mean()))
    assert sum(right_above[-20:]) / 20 > 0.8


def test_a_file_without_the_layout_half_scores_as_before(tmp_path: Path) -> None:
    """Versions published before it existed keep their scores."""
    clip = small()
    save_evaluators(tmp_path / "new.safetensors", clip, clip)
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        metadata = file.metadata()
        old = {
            name: file.get_tensor(name)
            for name in file.keys()
            if "layout" not in name and "moments" not in name and "neighbours" not in name
        }
    config = json.loads(metadata["config"])
    del config["moments"]
    save_file(old, tmp_path / "old.safetensors", metadata={"config": json.dumps(config)})
    read, _ = load_evaluators(tmp_path / "old.safetensors")

    features, tokens = (
        torch.randn(3, 9, 12),
        torch.tensor([[5, 6, 1], [7, 1, 2], [8, 9, 1]]),
    )
    vectors = read.embed_images(features)
    assert float(vectors[:, 32:].abs().max()) == 0
    whole = read.image_projection(read.pool_images(features)[:, :32])
    torch.testing.assert_close(vectors[:, :32], torch.nn.functional.normalize(whole, dim=1))
    torch.testing.assert_close(read.embed_texts(tokens).norm(dim=1), torch.ones(3))


def test_every_error_is_measured(tokenizer: Tokenizer) -> None:
    """An untrained evaluator's figures, each a share."""
    tower = Tower(TowerConfig(image_size=48, widths=(4, 4, 4, 4))).eval().requires_grad_(False)
    clip = small(tokenizer.vocab_size, tower.config.feature_width)
    figures = measure_evaluator(clip, tower, tokenizer, "noto", count=50)
    assert list(figures["by_error"]) == [
        *("kind", "count", "colour", "size", "background", "relation"),
        *("order", "repetition", "doubled", "cut"),
    ]
    assert all(0 <= share <= 1 for share in figures["by_error"].values())
    mean = sum(figures["by_error"].values()) / 10
    assert figures["right_above_corrupted"] == pytest.approx(mean)
    assert figures["recall_at_1_of_100"] < 0.2
