"""The commands of the built-in domain, run as a person runs them, and scenes as JSON."""

import argparse
import json
from pathlib import Path

import pytest
from PIL import Image
from scene_examples import random_scene
from scenes.checker import check
from scenes.cli import STYLES, add_scenes_commands
from scenes.scene_json import scene_from_json, scene_to_json


def run(*words: str) -> int:
    """Runs one command line."""
    parser = argparse.ArgumentParser()
    add_scenes_commands(parser.add_subparsers(required=True))
    arguments = parser.parse_args(words)
    return arguments.run(arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scenes, drawn in each style in turn."""
    out = tmp_path_factory.mktemp("scenes")
    assert run("scenes", "--count", "6", "--out", str(out), "--seed", "7", "--size", "96") == 0
    return out


def test_scenes_writes_pictures_captions_and_a_sheet(folder: Path) -> None:
    pictures = json.loads((folder / "captions.json").read_text())["pictures"]
    assert [each["file"] for each in pictures] == [f"00{n}.jpg" for n in range(1, 7)]
    assert {each["style"] for each in pictures} == set(STYLES)
    for each in pictures:
        with Image.open(folder / each["file"]) as picture:
            assert (picture.format, picture.size) == ("JPEG", (96, 96))
        scene = scene_from_json(each["scene"])
        assert all(check(caption, scene).clean for caption in each["captions"])
    assert len((folder / "captions.txt").read_text().splitlines()) == 30
    with Image.open(folder / "contact-sheet.png") as sheet:
        assert sheet.width > 4 * 96


def test_scenes_of_one_seed_are_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    run("scenes", "--count", "6", "--out", str(tmp_path), "--seed", "7", "--size", "96")
    for name in ("001.jpg", "006.jpg", "captions.json", "contact-sheet.png"):
        assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()


def test_check_judges_each_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = json.loads((folder / "captions.json").read_text())["pictures"]
    lines = [
        {"file": "002.jpg", "caption": pictures[1]["captions"][0]},
        {"index": 0, "caption": "dog dog"},
    ]
    captions = tmp_path / "captions.jsonl"
    captions.write_text("\n".join(json.dumps(line) for line in lines))
    scenes = str(folder / "captions.json")
    assert run("check", "--scenes", scenes, "--captions", str(captions), "--taste", "brief") == 0
    printed = capsys.readouterr()
    first, second = (json.loads(line) for line in printed.out.splitlines())
    assert (first["file"], first["clean"], first["n_wrong"]) == ("002.jpg", True, 0)
    assert first["approved"] is (len(first["caption"].split()) <= 9)
    assert (second["grammatical"], second["approved"], second["facts"]) == (False, False, [])
    assert json.loads(printed.err)["grammatical"] == 0.5


@pytest.mark.parametrize(
    "line",
    ['{"file": "999.jpg", "caption": "a"}', '{"index": -1, "caption": "a"}', "[", "[]", "{}"],
)
def test_check_names_the_line_that_it_cannot_use(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"index": 0, "caption": "a dog"}\n' + line + "\n")
    assert run("check", "--scenes", str(folder / "captions.json"), "--captions", str(captions)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "line 2" in printed.err


def test_check_refuses_a_file_that_holds_no_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "captions.json"
    for content in ("{}", "[]", '{"pictures": [{"file": "a"}]}', "nonsense"):
        file.write_text(content)
        assert run("check", "--scenes", str(file), "--captions", str(file)) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_a_scene_survives_json() -> None:
    for seed in range(200):
        scene = random_scene(seed)
        assert scene_from_json(json.loads(json.dumps(scene_to_json(scene)))) == scene


def test_json_that_is_no_scene_is_refused() -> None:
    value = scene_to_json(random_scene(1))
    for broken in ({}, None, value | {"time": "noon"}, value | {"groups": "dog"}):
        with pytest.raises(ValueError, match="not a scene"):
            scene_from_json(broken)
    stray = value | {"relations": [{"subject": 0, "name": "above", "object": 9}]}
    with pytest.raises(ValueError, match="points outside"):
        scene_from_json(stray)
