"""Evaluators: what they read, what their training asks of them, what their file keeps."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path

import pytest
import torch
from dico.evaluators.clip import Clip, ClipConfig, Neighbours, waves
from dico.evaluators.storage import load_evaluators, save_evaluators
from dico.pretraining.bank import Bank, bank_scene, build_bank
from dico.pretraining.evaluators import contrastive_loss, corruption_loss, pool_by_length
from dico.pretraining.layout import learn_layout
from dico.pretraining.measure import measure_evaluator
from dico.pretraining.streams import CORRUPTED, RelationStream, TextStream, evaluator_tokens
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig
from safetensors.torch import save_file
from scenes.grammar import human_captions
from scenes.parser import parse
from scenes.sampler import sample_scene

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    """One trained on a few captions."""
    return Tokenizer.train(
        [text for seed in range(200) for text in human_captions(sample_scene(seed))],
        400,
    )


def small(vocab_size: int = 400, feature_width: int = 12, cells: int = 9) -> Clip:
    """A small evaluator with seeded weights."""
    torch.manual_seed(0)
    config = ClipConfig(
        feature_width=feature_width,
        feature_tokens=cells,
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


def test_captions_that_say_how_things_lie_are_preferred(tokenizer: Tokenizer) -> None:
    """Nearly all of them do, against a third of those that the grammar writes."""
    rows, tokens = next(iter(RelationStream(tokenizer, count=400, batch=60, seed=1)))
    assert rows.tolist() == sorted(rows.tolist())
    said = 0
    for row, ids in zip(rows.tolist(), tokens.tolist(), strict=True):
        assert len(bank_scene(row).groups) > 1
        parsed = parse(tokenizer.decode(ids[: ids.index(1)]))
        said += parsed is not None and bool(parsed.relations)
    assert said > 0.7 * len(rows)


def test_a_layout_is_learnt_by_what_reads_it_alone(tokenizer: Tokenizer, tmp_path: Path) -> None:
    """Counts, attention and the first half are left as they were."""
    tower = Tower(TowerConfig(widths=(4, 4, 4, 4))).eval().requires_grad_(False)
    build_bank(tower, tmp_path, count=40, views=1, workers=0)
    clip = small(tokenizer.vocab_size, tower.config.feature_width, tower.config.cells**2)
    before = copy.deepcopy(clip)
    learn_layout(clip, tower, Bank(tmp_path), tokenizer, steps=2, seed=1)
    changed = {
        name
        for name, value in clip.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert {name.split(".")[0] for name in changed} == {
        *("image_sides", "image_layout_projection"),
        *("token_embedding", "text_neighbours", "text_layout_projection"),
    }
    for name in ("image_layout_projection", "text_layout_projection"):
        read = 64 if name.startswith("image") else 32
        own, earlier = getattr(clip, name).weight, getattr(before, name).weight
        assert torch.equal(own[:, :-read], earlier[:, :-read])


def test_a_word_tells_what_stands_before_it_from_what_stands_after() -> None:
    """Within reach; what lies beyond it changes nothing."""
    torch.manual_seed(0)
    neighbours = Neighbours(8, reach=2)
    words = torch.randn(1, 7, 8)
    pairs = neighbours(words)
    swapped = words[:, [0, 1, 4, 3, 2, 5, 6]]
    assert not torch.allclose(neighbours(swapped)[:, 3], pairs[:, 3])
    beyond = words.clone()
    beyond[:, [0, 6]] += 1
    torch.testing.assert_close(neighbours(beyond)[:, 3], pairs[:, 3])


def test_the_file_keeps_both_evaluators(tmp_path: Path) -> None:
    """Up to the fp16 it is written in; of PAC the projections are its own."""
    clip, pac = small(), small()
    with torch.no_grad():
        pac.text_layout_projection.weight.mul_(-1)
    save_evaluators(tmp_path / "both.safetensors", clip, pac)
    features, tokens = torch.randn(3, 9, 12), torch.tensor([[5, 6, 1], [7, 1, 2], [8, 9, 1]])
    for read, written in zip(
        load_evaluators(tmp_path / "both.safetensors"), (clip, pac), strict=True
    ):
        for name in ("embed_images", "embed_texts"):
            argument = features if name == "embed_images" else tokens
            torch.testing.assert_close(
                getattr(read, name)(argument), getattr(written, name)(argument), atol=5e-3, rtol=0
            )


def test_a_file_without_sizes_is_no_evaluator(tmp_path: Path) -> None:
    save_file({"clip.logit_scale": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="holds no evaluator sizes"):
        load_evaluators(tmp_path / "other.safetensors")


def test_other_evaluators_and_broken_files_are_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    sizes = json.dumps({"feature_width": 12, "width": 8, "heads": 2, "ffn": 8, "vocab_size": 20})
    save_file({"clip.logit_scale": torch.zeros(1)}, path, {"config": sizes})
    with pytest.raises(ValueError, match="holds other evaluators"):
        load_evaluators(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="holds other evaluators"):
        load_evaluators(path)


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
