"""Corrupted captions: each with the error it is named after, none of them true."""

from __future__ import annotations

import random
from functools import cache
from itertools import pairwise

import pytest
from dico.pretraining.corruptions import ERRORS, Corruptor, Error
from scenes.checker import check, repeats
from scenes.grammar import caption
from scenes.lexicon import MAX_TOKENS, tokens_of
from scenes.sampler import sample_scene
from scenes.scene import Scene

FACTS: dict[Error, set[str]] = {
    "kind": {"kind", "relation"},
    "count": {"count"},
    "colour": {"colour"},
    "size": {"size"},
    "background": {"place", "time", "weather"},
    "relation": {"relation"},
}


@cache
def written(error: Error) -> list[tuple[Scene, str, str]]:
    """Scene, true caption and the same with the error, as far as 150 scenes offer it."""
    found: list[tuple[Scene, str, str]] = []
    for seed in range(150):
        scene = sample_scene(seed)
        truth = caption(scene, random.Random(seed))
        wrong = Corruptor(scene, truth).corrupted(error, seed)
        if wrong is not None:
            found.append((scene, truth, wrong))
    return found


@pytest.mark.parametrize("error", ERRORS)
def test_no_corruption_is_true_or_as_it_was(error: Error) -> None:
    """Ungrammatical, wrong in a fact or saying a thing twice; within the caption's length."""
    for scene, truth, wrong in written(error):
        found = check(wrong, scene)
        assert wrong != truth
        assert not found.clean or found.repetition
        assert len(wrong.replace(",", " ,").split()) <= MAX_TOKENS


@pytest.mark.parametrize("error", FACTS)
def test_a_wrong_fact_is_the_only_fault(error: Error) -> None:
    """An evaluator that sees another fault would learn that one instead."""
    for scene, _, wrong in written(error):
        found = check(wrong, scene)
        assert found.grammatical
        assert {fact.type for fact in found.facts if not fact.right} <= FACTS[error]


@pytest.mark.parametrize("error", ERRORS)
def test_nearly_every_caption_that_can_offer_an_error_does(error: Error) -> None:
    """Colour and relation need a caption that has one; every other error is always at hand."""
    able = 0
    for seed in range(150):
        scene = sample_scene(seed)
        parsed = check(caption(scene, random.Random(seed)), scene).parsed
        assert parsed is not None
        named = {mention.kind for mention in parsed.mentions}
        coloured = any(group.colour and group.kind in named for group in scene.groups)
        able += {"colour": coloured, "relation": bool(parsed.relations)}.get(error, True)
    assert len(written(error)) >= 0.9 * able


def test_where_nothing_is_coloured_or_related_there_is_no_such_error() -> None:
    """The caption names one thing that keeps its own colours."""
    scene = next(
        scene
        for scene in map(sample_scene, range(500))
        if len(scene.groups) == 1 and scene.groups[0].colour is None
    )
    corruptor = Corruptor(scene, caption(scene, random.Random(0)))
    assert corruptor.corrupted("colour", 1) is None
    assert corruptor.corrupted("relation", 1) is None


@pytest.mark.parametrize("error", ERRORS)
def test_the_seed_decides_the_corruption(error: Error) -> None:
    """Twice the same, and over several seeds not always the same."""
    scene, truth, _ = written(error)[0]
    texts = [Corruptor(scene, truth).corrupted(error, seed) for seed in range(12)]
    assert texts == [Corruptor(scene, truth).corrupted(error, seed) for seed in range(12)]
    assert len(set(texts)) > 1


def test_order_keeps_every_word() -> None:
    """Only their order is wrong."""
    for _, truth, wrong in written("order"):
        assert sorted(tokens_of(truth) or []) == sorted(wrong.replace(",", " ,").split())


def test_a_doubled_word_stands_beside_itself() -> None:
    """One word more than the truth, next to its like."""
    for _, truth, wrong in written("doubled"):
        words = wrong.replace(",", " ,").split()
        assert len(words) == len(tokens_of(truth) or []) + 1
        assert any(first == second for first, second in pairwise(words))


def test_a_cut_caption_begins_like_the_true_one_and_is_no_sentence() -> None:
    """A shorter caption that is still a sentence would be no error."""
    for scene, truth, wrong in written("cut"):
        assert truth.startswith(wrong)
        assert not check(wrong, scene).grammatical


def test_most_repetitions_name_a_kind_again() -> None:
    """The others say twice where or when it is."""
    texts = [wrong for _, _, wrong in written("repetition")]
    assert sum(repeats(text) for text in texts) > 0.7 * len(texts)


def test_what_the_grammar_did_not_write_is_refused() -> None:
    """There is nothing to corrupt in it."""
    with pytest.raises(ValueError, match="not a caption"):
        Corruptor(sample_scene(1), "dog a")
