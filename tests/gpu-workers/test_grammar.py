"""What the grammar writes: true, readable, varied and within the captioner's bounds."""

from itertools import combinations

import pytest
from scene_examples import random_scene
from scenes.checker import check, parse
from scenes.grammar import caption, human_captions
from scenes.lexicon import article, kind_forms, tokens_of, vocabulary
from scenes.places import PLACES
from scenes.sampler import sample_scene
from scenes.scene import Group, Scene, generator_for

SCENES = [random_scene(seed) for seed in range(1000)] + [sample_scene(s) for s in range(1000)]
CAPTIONS = [(scene, written) for scene in SCENES for written in human_captions(scene)]


def test_every_human_caption_is_grammatical_true_and_says_nothing_twice() -> None:
    for scene, written in CAPTIONS:
        result = check(written, scene)
        assert result.clean, (written, result)
        assert not result.repetition, written


def test_captions_have_the_length_people_write() -> None:
    lengths = [len(written.split()) for _, written in CAPTIONS]
    assert max(lengths) <= 26
    assert 9 <= sum(lengths) / len(lengths) <= 13


def test_captions_are_lower_case_without_a_full_stop() -> None:
    for _, written in CAPTIONS:
        assert written == written.lower()
        assert not written.endswith(".")


def test_every_word_is_in_the_vocabulary_and_the_vocabulary_is_small() -> None:
    used = {word for _, written in CAPTIONS for word in tokens_of(written) or [] if word != ","}
    assert used <= vocabulary()
    assert len(vocabulary()) <= 480


def test_the_same_scene_gets_the_same_captions() -> None:
    for scene in SCENES[:50]:
        assert human_captions(scene) == human_captions(scene)
        assert human_captions(scene, 3) == human_captions(scene)[:3]


def test_the_captions_of_a_scene_nearly_always_differ() -> None:
    same = sum(len(set(human_captions(scene))) < 5 for scene in SCENES)
    assert same / len(SCENES) < 0.01


def test_relations_are_said_in_a_third_of_captions_that_name_two_kinds() -> None:
    parsed = [parse(written) for _, written in CAPTIONS[5000:]]
    several = [said for said in parsed if said is not None and len(said.mentions) > 1]
    assert sum(bool(said.relations) for said in several) / len(several) >= 0.3
    for name in ("left of", "right of", "above", "in front of", "next to"):
        share = sum(any(r.name == name for r in said.relations) for said in several)
        assert share / len(several) > 0.03, name


def test_many_captions_leave_something_out() -> None:
    left_out = [check(written, scene).left_out for scene, written in CAPTIONS]
    for silent in ("place", "time"):
        assert 0.2 < sum(silent in each for each in left_out) / len(left_out) < 0.8


def test_more_detail_means_more_words() -> None:
    rng = generator_for("detail")
    brief, full = (
        sum(len(caption(scene, rng, detail).split()) for scene in SCENES[:300])
        for detail in (0.0, 1.0)
    )
    assert full > 1.5 * brief


def test_a_kind_has_its_own_words() -> None:
    forms = [form for pair in kind_forms().values() for form in set(pair)]
    assert len(forms) == len(set(forms))


def test_no_place_phrase_begins_with_another() -> None:
    phrases = [place.phrase for place in PLACES.values()]
    for one, other in combinations(phrases, 2):
        assert not f"{one} ".startswith(f"{other} ")
        assert not f"{other} ".startswith(f"{one} ")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("umbrella", "an"), ("unicorn", "a"), ("owl", "an"), ("hospital", "a"), ("ear", "an")],
)
def test_the_article_follows_the_sound(word: str, expected: str) -> None:
    assert article(word) == expected


def test_a_scene_with_one_plain_thing_and_one_that_cannot_be_counted_alone() -> None:
    box = (0.1, 0.1, 0.5, 0.5)
    groups = (Group("scissors", 1, "medium", None, (box,)),)
    scene = Scene(1, "park", "day", "clear", groups, ())
    assert all("pair of scissors" in written for written in human_captions(scene))
