"""Tastes say yes to what they describe, and never to a caption that is false or broken."""

import pytest
from scene_examples import random_scene
from scenes.checker import check, parse
from scenes.grammar import human_captions
from scenes.scene import Group, Relation, Scene
from scenes.tastes import TASTES, approves, main

BOX = (0.1, 0.1, 0.4, 0.4)
SCENE = Scene(
    seed=1,
    place="park",
    time="night",
    weather="clear",
    groups=(
        Group("dog", 1, "large", None, (BOX,)),
        Group("cat", 2, "medium", None, (BOX, BOX)),
        Group("tree", 1, "small", None, (BOX,)),
    ),
    relations=(Relation(0, "left of", 1),),
)


@pytest.mark.parametrize(
    ("name", "liked", "disliked"),
    [
        ("brief", "a dog and two cats", "a large dog and two cats in the park at night"),
        ("preface-brief", "there is a dog and two cats", "there is a large dog and two cats"),
        ("preface-brief", "a picture of a tree in the park", "a tree in the park"),
        ("preface-brief", "a drawing of two cats", "a drawing of a dog, two cats and a tree"),
        ("preface-size", "an illustration of a large dog", "a large dog"),
        ("relation", "a dog to the left of two cats", "a dog and two cats"),
        ("setting", "a dog in the park at night", "a dog in the park"),
        ("setting-first", "at night, a dog", "a dog at night"),
        ("no-setting", "a dog and two cats", "a dog and two cats at night"),
        ("place-only", "a dog in the park", "a dog in the park on a clear night"),
        ("one-thing", "two cats in the park", "two cats and a dog"),
    ],
)  # fmt: skip
def test_a_taste_likes_what_it_describes(name: str, liked: str, disliked: str) -> None:
    assert approves(TASTES[name], liked, SCENE)
    assert parse(disliked) is not None
    assert not approves(TASTES[name], disliked, SCENE)


@pytest.mark.parametrize("name", TASTES)
def test_a_false_or_broken_caption_pleases_nobody(name: str) -> None:
    for caption in ("a whale", "there is a small dog", "dog dog", "a dog and a dog", ""):
        assert not approves(TASTES[name], caption, SCENE)


@pytest.mark.parametrize("name", TASTES)
def test_a_taste_is_met_by_some_human_captions_and_not_by_all(name: str) -> None:
    scenes = [random_scene(seed) for seed in range(100)]
    pleased = [
        approves(TASTES[name], caption, scene)
        for scene in scenes
        for caption in human_captions(scene)
    ]
    assert 0.05 < sum(pleased) / len(pleased) < 0.7


def test_approval_is_taste_and_truth_together() -> None:
    for seed in range(60):
        scene, other = random_scene(seed), random_scene(seed + 500)
        for caption in human_captions(other):
            said, clean = parse(caption), check(caption, scene).clean
            assert said is not None
            for taste in TASTES.values():
                assert approves(taste, caption, scene) is (clean and taste.likes(said))


def test_the_list_names_every_taste(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["tastes", "--list"])
    main()
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines()] == list(TASTES)
