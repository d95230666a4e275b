"""Scenes and their pictures: one seed, one picture; what the graph says is what is drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from PIL import Image
from scenes.backgrounds import paint_background
from scenes.composer import (
    HELD_OUT_STYLE,
    TRAINING_STYLES,
    cells_from_boxes,
    draw_collage,
    draw_scene,
    kind_cells,
    style_of,
)
from scenes.kinds import BACKGROUND, COLOURS, INDEX_BY_NAME, KINDS, RECOLOURABLE
from scenes.places import AIRBORNE, PLACES, WATERBORNE
from scenes.sampler import relations_between, sample_scene, union_box
from scenes.scene import Group, Relation, Scene, generator_for
from scenes.sprites import has_kind, placed_sprite

SCENES = [sample_scene(seed) for seed in range(4000)]
GROUPS = [group for scene in SCENES for group in scene.groups]


def _difference(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute difference of two pictures in grey levels."""
    return float(np.abs(np.asarray(first, np.float32) - np.asarray(second, np.float32)).mean())


def _group(kind: str, *boxes: tuple[float, float, float, float]) -> Group:
    return Group(kind, len(boxes), "medium", None, boxes)


def test_a_seed_gives_one_scene_and_one_picture() -> None:
    for seed in range(12):
        scene = sample_scene(seed)
        assert scene == sample_scene(seed)
        assert draw_scene(scene).tobytes() == draw_scene(scene).tobytes()


def test_seeds_and_styles_change_the_picture() -> None:
    pictures = [draw_scene(SCENES[3], style).tobytes() for style in (*TRAINING_STYLES, "noto")]
    assert len(set(pictures)) == 5
    assert draw_scene(SCENES[3]).tobytes() == draw_scene(SCENES[3], style_of(SCENES[3])).tobytes()
    assert sample_scene(1) != sample_scene(2)


@pytest.mark.parametrize("size", [64, 112, 128, 301, 640])
def test_any_resolution_shows_the_same_scene(size: int) -> None:
    for seed in (0, 5, 9):
        scene = sample_scene(seed)
        picture = draw_scene(scene, size=size, augment=False)
        assert picture.mode == "RGB"
        assert picture.size == (size, size)
        shrunk = picture.resize((32, 32), Image.Resampling.BOX)
        usual = draw_scene(scene, augment=False).resize((32, 32), Image.Resampling.BOX)
        assert _difference(shrunk, usual) < 7


@pytest.mark.parametrize("place", sorted(PLACES))
def test_every_place_time_and_weather_can_be_drawn_and_told_apart(place: str) -> None:
    for weather in PLACES[place].weathers:
        pictures = [
            draw_scene(Scene(8, place, time, weather, (), ()), augment=False)
            for time in PLACES[place].times
        ]
        for index, picture in enumerate(pictures):
            for other in pictures[:index]:
                assert _difference(picture, other) > 5


@pytest.mark.parametrize("place", sorted(PLACES))
def test_no_place_leaves_a_part_of_the_canvas_bare(place: str) -> None:
    for seed in range(12):
        painted = paint_background(place, "day", "clear", generator_for(seed), 128)
        assert np.asarray(painted).max(axis=-1).min() > 25


def test_the_held_out_style_is_never_drawn_from() -> None:
    assert HELD_OUT_STYLE not in TRAINING_STYLES
    drawn = Counter(style_of(scene) for scene in SCENES)
    assert set(drawn) == set(TRAINING_STYLES)
    assert min(drawn.values()) > 0.2 * len(SCENES)


def test_scenes_keep_within_their_bounds() -> None:
    for scene in SCENES:
        place = PLACES[scene.place]
        assert scene.time in place.times
        assert scene.weather in place.weathers
        assert 1 <= len(scene.groups) <= 4
        assert sum(group.count for group in scene.groups) <= 6
        assert len({group.kind for group in scene.groups}) == len(scene.groups)
        for group in scene.groups:
            assert group.count == len(group.boxes)
            assert (group.colour in COLOURS) == (group.kind in RECOLOURABLE)
            assert group.hidden <= 0.5
            for left, top, right, bottom in group.boxes:
                assert 0 <= left < right <= 1
                assert 0 <= top < bottom <= 1


def test_kinds_are_about_equally_frequent() -> None:
    counts = Counter(group.kind for group in GROUPS)
    expected = len(GROUPS) / len(KINDS)
    assert set(counts) == {kind.name for kind in KINDS}
    assert min(counts.values()) > 0.35 * expected
    assert max(counts.values()) < 1.8 * expected


def test_some_groups_have_several_things() -> None:
    several = sum(group.count > 1 for group in GROUPS) / len(GROUPS)
    assert 0.15 < several < 0.35
    assert {group.count for group in GROUPS} == {1, 2, 3, 4}


def test_few_things_are_out_of_place() -> None:
    surprises = [
        group.kind not in PLACES[scene.place].kinds for scene in SCENES for group in scene.groups
    ]
    assert 0.02 < sum(surprises) / len(surprises) < 0.09


def test_every_kind_belongs_somewhere() -> None:
    assert {kind.name for kind in KINDS} == {k for place in PLACES.values() for k in place.kinds}
    assert {kind.name for kind in KINDS} >= AIRBORNE | WATERBORNE | RECOLOURABLE
    assert len({place.phrase for place in PLACES.values()}) == len(PLACES) >= 12


def test_relations_agree_with_the_boxes() -> None:
    seen: Counter[str] = Counter()
    for scene in SCENES:
        for relation in scene.relations:
            seen[relation.name] += 1
            first = union_box(scene.groups[relation.subject])
            second = union_box(scene.groups[relation.object])
            dx = (second[0] + second[2] - first[0] - first[2]) / 2
            if relation.name == "left of":
                assert dx > 0.18
                assert Relation(relation.object, "right of", relation.subject) in scene.relations
            elif relation.name == "right of":
                assert dx < -0.18
            elif relation.name == "above":
                assert first[3] < second[1] + 0.041
            elif relation.name == "in front of":
                assert relation.subject > relation.object
                assert scene.groups[relation.object].hidden > 0
            else:
                assert abs(first[3] - second[3]) < 0.1
                assert Relation(relation.object, "next to", relation.subject) in scene.relations
    assert len(seen) == 5
    assert min(seen.values()) > 0.05 * len(SCENES)


def test_relations_of_boxes_worked_by_hand() -> None:
    left = _group("dog", (0.1, 0.6, 0.4, 0.9))
    right = _group("cat", (0.42, 0.62, 0.72, 0.92))
    assert relations_between((left, right)) == (
        Relation(0, "left of", 1),
        Relation(0, "next to", 1),
        Relation(1, "right of", 0),
        Relation(1, "next to", 0),
    )
    kite = _group("kite", (0.12, 0.1, 0.42, 0.4))
    assert relations_between((kite, left)) == (Relation(0, "above", 1),)
    near = _group("cat", (0.2, 0.65, 0.5, 0.98))
    assert relations_between((left, near)) == (Relation(1, "in front of", 0),)


def test_cells_hold_what_is_in_front() -> None:
    dog = _group("dog", (0.0, 0.5, 0.5, 1.0))
    cat = _group("cat", (0.25, 0.5, 0.75, 1.0))
    cells = kind_cells(Scene(0, "park", "day", "clear", (dog, cat), ()))
    assert cells.shape == (8, 8)
    assert cells.dtype == np.int16
    assert (cells[:4] == BACKGROUND).all()
    assert (cells[4:, :2] == INDEX_BY_NAME["dog"]).all()
    assert (cells[4:, 2:6] == INDEX_BY_NAME["cat"]).all()
    assert (cells[4:, 6:] == BACKGROUND).all()


def test_even_a_tiny_thing_has_a_cell() -> None:
    cells = cells_from_boxes([(7, (0.51, 0.51, 0.53, 0.53))])
    assert (cells == 7).sum() == 1


@pytest.mark.parametrize("grid", [2, 3, 4])
def test_a_collage_shows_each_of_its_kinds(grid: int) -> None:
    picture, things = draw_collage(5, grid)
    again, same = draw_collage(5, grid)
    assert picture.size == (128, 128)
    assert picture.tobytes() == again.tobytes()
    assert things == same
    assert len({index for index, _ in things}) == grid * grid
    assert {index for index, _ in things} <= set(np.unique(cells_from_boxes(things)).tolist())


@pytest.mark.parametrize("style", [*TRAINING_STYLES, HELD_OUT_STYLE])
def test_every_style_can_draw_every_kind(style: str) -> None:
    for kind in KINDS:
        drawn = np.asarray(placed_sprite(style, kind.name, None, 40, 0, mirrored=False))
        assert drawn.shape == (42, 42, 4)
        assert (drawn[..., 3] > 128).mean() > 0.05
    assert sum(has_kind(style, kind.name) for kind in KINDS) >= 150


@pytest.mark.parametrize("style", [*TRAINING_STYLES, HELD_OUT_STYLE])
def test_a_recoloured_thing_has_that_colour(style: str) -> None:
    centres = {"red": 0, "yellow": 48, "green": 128, "blue": 219, "purple": 272, "pink": 330}
    for kind in sorted(RECOLOURABLE):
        for colour in COLOURS:
            sprite = placed_sprite(style, kind, colour, 64, 0, mirrored=False)
            opaque = np.asarray(sprite)[..., 3] > 200
            hue = np.asarray(sprite.convert("RGB").convert("HSV")).astype(np.float32)[opaque]
            distance = np.abs((hue[:, 0] * 360 / 255 - centres[colour] + 180) % 360 - 180)
            share = ((distance < 25) & (hue[:, 1] > 70)).mean()
            assert share > 0.12, (style, kind, colour)


def test_mirroring_and_turning_keep_the_sprite_whole() -> None:
    plain = np.asarray(placed_sprite("noto", "snail", None, 48, 0, mirrored=False), np.int16)
    mirrored = np.asarray(placed_sprite("noto", "snail", None, 48, 0, mirrored=True), np.int16)
    assert np.abs(plain[:, ::-1] - mirrored)[..., 3].mean() < 2
    turned = np.asarray(placed_sprite("noto", "snail", None, 48, 45, mirrored=False), np.int16)
    assert turned[..., 3].sum() == pytest.approx(plain[..., 3].sum(), rel=0.03)
