"""What pre-training adds to cross-entropy, and the figures a base model is held to."""

from __future__ import annotations

from pathlib import Path

import torch
from dico.captioner import Captioner, CaptionerConfig, pad_captions
from dico.pretraining.captioner import PlaceHead, grid_positions, place_cells, placed_nouns
from dico.pretraining.measure import said_figures
from dico.tokenizer import Tokenizer
from scenes.checker import check
from scenes.grammar import human_captions
from scenes.lexicon import kind_forms
from scenes.sampler import sample_scene, union_box

TOKENIZER = Tokenizer.load(Path(__file__).parents[2] / "models/scenes-base/tokenizer.json")
SCENES = [sample_scene(seed) for seed in range(40)]


def test_positions_differ_most_between_cells_that_are_far_apart() -> None:
    positions = grid_positions(8, 64)
    distance = (positions[None, 0] - positions).norm(dim=-1).view(8, 8)
    assert positions.shape == (64, 64)
    assert distance[0, 0] == 0
    assert distance[0, 1] < distance[0, 4]
    assert distance[1, 0] == distance[0, 1]  # rows and columns alike


def test_faint_positions_are_replaced_and_learnt_ones_kept() -> None:
    captioner = Captioner(CaptionerConfig(width=64, heads=2, vocab_size=50))
    place_cells(captioner, 8)
    assert torch.equal(captioner.encoder_positions, grid_positions(8, 64))
    with torch.no_grad():
        captioner.encoder_positions.mul_(0.9)
    place_cells(captioner, 8)
    assert torch.equal(captioner.encoder_positions, 0.9 * grid_positions(8, 64))


def test_each_thing_named_is_placed_at_the_last_token_of_its_name() -> None:
    placed = 0
    for scene in SCENES:
        for text in human_captions(scene):
            tokens = TOKENIZER.encode(text)
            for noun in placed_nouns(tokens, scene, TOKENIZER):
                said = TOKENIZER.decode(tokens[: noun.token + 1])
                group = next(
                    group
                    for group in scene.groups
                    if any(said.endswith(form) for form in kind_forms()[group.kind])
                )
                left, top, right, bottom = union_box(group)
                assert noun.centre == (left + right - 1, top + bottom - 1)
                placed += 1
    assert placed > len(SCENES)


def test_the_place_head_reads_the_state_after_the_noun_alone() -> None:
    captioner = Captioner(CaptionerConfig(width=64, heads=2, vocab_size=TOKENIZER.vocab_size))
    head = PlaceHead(captioner)
    scene = next(scene for scene in SCENES if len(scene.groups) == 2)
    tokens = next(
        tokens
        for tokens in map(TOKENIZER.encode, human_captions(scene))
        if placed_nouns(tokens, scene, TOKENIZER)
    )
    noun = placed_nouns(tokens, scene, TOKENIZER)[0]
    losses: list[float] = []
    for end in (noun.token + 1, len(tokens)):
        input_ids, _ = pad_captions([tokens[:end]], captioner.config)
        torch.manual_seed(0)
        captioner(torch.rand(1, 64, captioner.config.feature_width), input_ids)
        losses.append(float(head.loss([[noun]]).detach()))
    assert abs(losses[0] - losses[1]) < 1e-5


def test_true_captions_have_perfect_figures_and_swapped_ones_do_not() -> None:
    said = [human_captions(scene)[0] for scene in SCENES]
    figures = said_figures([check(t, s) for t, s in zip(said, SCENES, strict=True)], SCENES)
    assert figures["once"] == 1
    assert set(figures["counts_right"].values()) == {1}
    assert 0.5 < figures["kinds_recalled"] <= 1
    assert 0 < figures["relation_said"] < 1
    other = [*SCENES[1:], SCENES[0]]
    swapped = said_figures([check(t, s) for t, s in zip(said, other, strict=True)], other)
    assert swapped["kinds_recalled"] < 0.2
