"""The checker's verdicts: true captions pass, each kind of lie is caught and named."""

from dataclasses import replace

import pytest
from scene_examples import random_scene
from scenes.checker import Fact, FactType, check, parse, repeats, shares
from scenes.grammar import human_captions
from scenes.kinds import KINDS
from scenes.scene import Group, Relation, Scene, generator_for

BOX = (0.1, 0.1, 0.4, 0.4)
SCENE = Scene(
    seed=1,
    place="park",
    time="night",
    weather="rain",
    groups=(
        Group("car", 1, "large", "red", (BOX,), hidden=0.7),
        Group("dog", 2, "small", None, (BOX, BOX)),
        Group("sheep", 3, "medium", None, (BOX, BOX, BOX)),
    ),
    relations=(
        Relation(0, "left of", 1),
        Relation(2, "in front of", 0),
        Relation(1, "above", 2),
        Relation(0, "next to", 2),
    ),
)


def wrong_types(caption: str, scene: Scene = SCENE) -> list[FactType]:
    """Types of the caption's wrong facts; the caption must be grammatical."""
    result = check(caption, scene)
    assert result.grammatical, caption
    return [fact.type for fact in result.facts if not fact.right]


@pytest.mark.parametrize(
    "caption",
    [
        "a large red car and two small dogs in the park at night",
        "dogs",
        "some dogs and three sheep in the rain",
        "sheep",
        "on a rainy night, there is a red car with some sheep",
        "there are two dogs and a car",
        "a car to the left of two dogs, and sheep in the park",
        "two dogs are to the right of a car",
        "three sheep in front of a large car",
        "a red car behind three sheep",
        "two dogs above three sheep",
        "sheep below dogs",
        "some sheep next to a car",
        "a car beside three sheep",
        "two dogs and some sheep are in the park at night in the rain",
        "a drawing of a car, two dogs and three sheep",
    ],
)
def test_a_true_caption_is_clean(caption: str) -> None:
    result = check(caption, SCENE)
    assert result.clean
    assert result.n_right > 0
    assert result.wrong_kinds == ()
    assert not result.repetition


@pytest.mark.parametrize(
    ("caption", "types"),
    [
        ("a whale in the park", ["kind"]),
        ("a large purple whale", ["kind"]),
        ("a dog", ["count"]),
        ("three dogs", ["count"]),
        ("cars", ["count"]),
        ("a blue car", ["colour"]),
        ("two red dogs", ["colour"]),
        ("a small car", ["size"]),
        ("three large sheep", ["size"]),
        ("a car to the right of two dogs", ["relation"]),
        ("two dogs below three sheep", ["relation"]),
        ("a car in front of three sheep", ["relation"]),
        ("two dogs next to a car", ["relation"]),
        ("a car to the left of two dogs and three sheep", ["relation"]),
        ("a whale to the left of two dogs", ["kind", "relation"]),
        ("a car on the beach", ["place"]),
        ("a car at dawn", ["time"]),
        ("a car in the fog", ["weather"]),
        ("a car on a sunny day", ["time", "weather"]),
        ("a car and a car", ["kind"]),
    ],
)
def test_each_false_claim_is_wrong_and_named(caption: str, types: list[FactType]) -> None:
    assert wrong_types(caption) == types


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a",
        "a car.",
        "A car",
        "a  car",
        "car",
        "a cars",
        "an car",
        "a owl",
        "two car",
        "some car",
        "a red large car",
        "a car a dog",
        "a car and",
        "a car, a dog",
        "a car, and a dog",
        "there is two dogs",
        "there are a dog and a cat",
        "a dog and a cat is in the park",
        "two dogs is in the park",
        "a dog is at night",
        "a dog is",
        "in the park a dog",
        "in the park, a drawing of a dog",
        "a drawing of there is a dog",
        "a dog in the park on the beach",
        "a dog at night on a sunny day",
        "a dog and a cat to the left of a tree",
        "to the left of a tree",
        "a dog to the left of the park",
        "at night",
        "a dog, a cat, a tree, a car and a bus",
        "the a of dog night park",
        "a dog to the left of a cat to the left of a tree",
        "a zebroid",
    ],
)
def test_what_the_grammar_cannot_write_is_ungrammatical(caption: str) -> None:
    assert parse(caption) is None
    result = check(caption, SCENE)
    assert not result.grammatical
    assert not result.clean
    assert result.facts == ()


def test_word_salad_is_ungrammatical() -> None:
    rng = generator_for("salad")
    captions = [written for s in range(150) for written in human_captions(random_scene(s))]
    salads: list[str] = []
    for written in captions:
        words = written.replace(",", "").split()
        if len(words) >= 8:
            salads.append(" ".join(rng.sample(words, len(words))))
    grammatical = sum(parse(salad) is not None for salad in salads)
    assert grammatical / len(salads) < 0.01


def test_a_caption_about_another_scene_is_wrong() -> None:
    for seed in range(150):
        scene, other = random_scene(seed), random_scene(seed + 1000)
        absent = {group.kind for group in other.groups} - {group.kind for group in scene.groups}
        for written in human_captions(other):
            result = check(written, scene)
            said = {fact.text for fact in result.facts if fact.type == "kind"}
            assert set(result.wrong_kinds) == said & absent
            assert result.clean is (not any(not fact.right for fact in result.facts))
            if said & absent:
                assert not result.clean


@pytest.mark.parametrize("what", ["kind", "count", "colour", "size", "relation", "place", "time"])
def test_a_true_caption_of_a_changed_scene_is_caught_where_it_says_what_changed(what: str) -> None:
    seen = 0
    for seed in range(200):
        scene = random_scene(seed)
        changed = _changed(scene, what)
        for written in human_captions(scene):
            before = check(written, scene)
            if changed is not None and any(fact.type == what for fact in before.facts):
                seen += 1
                assert what in wrong_types(written, changed), written
    assert seen > 100


def _changed(scene: Scene, what: str) -> Scene | None:
    groups = scene.groups
    if what == "kind":
        named = {group.kind for group in groups}
        free = [kind.name for kind in KINDS if kind.name not in named]
        pairs = zip(groups, free, strict=False)
        return replace(scene, groups=tuple(replace(g, kind=kind) for g, kind in pairs))
    if what == "count":
        flipped = {1: 2, 2: 1, 3: 1, 4: 1}
        return replace(scene, groups=tuple(replace(g, count=flipped[g.count]) for g in groups))
    if what == "colour":
        return replace(scene, groups=tuple(replace(g, colour=None) for g in groups))
    if what == "size":
        return replace(scene, groups=tuple(replace(g, size="medium") for g in groups))
    if what == "relation":
        return replace(scene, relations=())
    if what == "place":
        return replace(scene, place="beach" if scene.place != "beach" else "park")
    return replace(scene, time="dawn" if scene.time != "dawn" else "night")


def test_left_out_lists_what_the_caption_is_silent_about() -> None:
    assert check("a red car", SCENE).left_out == ("dog", "sheep", "place", "time", "weather")
    assert check("a car and dogs on a rainy night", SCENE).left_out == ("sheep", "place")
    full = "a car, two dogs and three sheep in the park on a rainy night"
    assert check(full, SCENE).left_out == ()


def test_weather_cannot_be_left_out_or_claimed_where_none_is_to_be_seen() -> None:
    scene = replace(SCENE, place="kitchen", weather="clear")
    assert "weather" not in check("a red car", scene).left_out
    assert wrong_types("a car on a clear night", scene) == ["weather"]


def test_time_cannot_be_left_out_or_claimed_where_none_is_to_be_seen() -> None:
    scene = replace(SCENE, place="stage", time="day", weather="clear")
    assert "time" not in check("a red car", scene).left_out
    assert wrong_types("a car during the day", scene) == ["time"]


def test_facts_carry_the_caption_s_words() -> None:
    facts = check("a red car on the beach", SCENE).facts
    assert facts == (
        Fact("kind", True, "car"),
        Fact("count", True, "a red car"),
        Fact("colour", True, "a red car"),
        Fact("place", False, "on the beach"),
    )


def test_what_is_said_is_read_back() -> None:
    said = parse("at night, there are two small dogs behind a red car, and sheep in the park")
    assert said is not None
    assert said.opening == "there"
    assert said.setting_first
    assert [(m.kind, m.count, m.size, m.colour) for m in said.mentions] == [
        ("dog", 2, "small", None),
        ("car", 1, None, "red"),
        ("sheep", None, None, None),
    ]
    assert [(r.subject, r.name, r.object) for r in said.relations] == [(1, "in front of", 0)]
    assert [phrase.words for phrase in said.settings] == ["at night", "in the park"]
    assert said.n_words == 16


@pytest.mark.parametrize(
    "caption",
    [
        "a dog and a dog",
        "a dog, a cat and some dogs",
        "a dog a dog a dog",
        "a cat on the beach on the beach dawn beach dawn beach",
    ],
)
def test_saying_a_thing_twice_is_repetition(caption: str) -> None:
    assert repeats(caption)
    assert check(caption, SCENE).repetition


@pytest.mark.parametrize(
    "caption",
    [
        "a hot dog and a dog",
        "a tree and a pine tree",
        "a small red car and a small red truck",
        "a cup of coffee and a bunch of grapes",
    ],
)
def test_different_things_with_a_common_word_are_no_repetition(caption: str) -> None:
    assert parse(caption) is not None
    assert not repeats(caption)


def test_shares_over_many_captions() -> None:
    captions = ["a red car", "a blue car", "a whale and two dogs", "dog dog"]
    summary = shares([check(caption, SCENE) for caption in captions], [SCENE] * 4)
    assert summary.captions == 4
    assert summary.grammatical == 0.75
    assert summary.clean == 0.25
    # 3 facts, 3 facts (colour wrong), 3 facts (whale wrong; two dogs are there).
    assert summary.facts_wrong == pytest.approx(2 / 9)
    assert summary.facts_wrong_by_type == {"kind": 0.25, "count": 0.0, "colour": 0.5}
    assert summary.kinds_left_out == pytest.approx(6 / 9)
    assert summary.hallucinated == 0.25
    assert summary.repetition == 0.25


def test_shares_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="as many checks as scenes"):
        shares([], [])
