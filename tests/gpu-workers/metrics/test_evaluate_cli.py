"""`python -m dico evaluate` as a person runs it, on a small real version and drawn scenes."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import torch
from dico.cli import main
from dico.evaluators.clip import Clip, ClipConfig
from dico.evaluators.storage import file_digest, save_evaluators
from dico.metrics.cider import cider_d
from dico.metrics.overlap import overlap
from dico.metrics.tokenise import tokenise
from dico.tokenizer import Tokenizer

TINY = Path(__file__).parents[2] / "fixtures"
Evaluation = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions with untrained evaluators, and five scenes, under one roof."""
    root = tmp_path_factory.mktemp("evaluate")
    torch.manual_seed(0)
    config = ClipConfig(
        feature_width=22,
        feature_tokens=4,
        width=16,
        heads=2,
        ffn=32,
        text_layers=1,
        moments=4,
        vocab_size=Tokenizer.load(TINY / "tiny-version/tokenizer.json").vocab_size,
    )
    for name in ("tiny-version", "tiny-version-2"):
        shutil.copytree(TINY / name, root / name)
        evaluators = root / name / "training/evaluators.safetensors"
        save_evaluators(evaluators, Clip(config), Clip(config))
    scenes = ["--count", "5", "--size", "64", "--seed", "3"]
    assert main(["scenes", *scenes, "--out", str(root / "scenes")]) == 0
    return root


def run(folder: Path, data: str, *words: str) -> int:
    return main(
        [
            "evaluate",
            "--version",
            str(folder / "tiny-version"),
            "--data",
            str(folder / data),
            *words,
        ]
    )


@pytest.fixture(scope="module")
def evaluated(folder: Path) -> Evaluation:
    """The scenes, with the second version as the base."""
    base = str(folder / "tiny-version-2")
    assert run(folder, "scenes", "--base", base, "--out", str(folder / "out")) == 0
    return json.loads((folder / "out/metrics.json").read_text())


def test_figures_are_those_of_the_captions_in_the_same_file(evaluated: Evaluation) -> None:
    said = [each["caption"] for each in evaluated["pictures"]]
    human = [each["human_captions"] for each in evaluated["pictures"]]
    assert evaluated["metrics"]["traditional"] == pytest.approx(overlap(said, human))
    each = cider_d([tokenise(c) for c in said], [[tokenise(c) for c in own] for own in human])
    assert [row["cider"] for row in evaluated["pictures"]] == pytest.approx(each.tolist())
    for name in ("clip_s", "pac_s", "ref_clip_s", "ref_pac_s"):
        mean = sum(row[name] for row in evaluated["pictures"]) / 5
        assert evaluated["metrics"]["evaluators"][name] == pytest.approx(mean, abs=1e-5)


def test_every_group_is_there_and_each_score_says_what_it_was_computed_by(
    folder: Path, evaluated: Evaluation
) -> None:
    groups = ["traditional", "evaluators", "retrieval", "fluency", "facts", "drift from the base"]
    assert list(evaluated["metrics"]) == groups
    digest = file_digest(folder / "tiny-version/training/evaluators.safetensors")
    for name, weight in (("clip_s", 2.5), ("pac_s", 2.0)):
        provenance = evaluated["evaluators"][name]
        assert (provenance["evaluator_sha256"], provenance["weight"]) == (digest, weight)
        assert provenance["prompt"] == ""
        assert provenance["libraries"]["torch"] == torch.__version__.split("+")[0]
    made_of = evaluated["made_of"]
    assert made_of["version_manifest_sha256"] == file_digest(folder / "tiny-version/manifest.json")
    assert made_of["captions_sha256"] == file_digest(folder / "scenes/captions.json")
    assert (made_of["images"], made_of["human_captions"]) == (5, 25)


def test_the_table_shows_what_the_file_holds(
    folder: Path, evaluated: Evaluation, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "scenes", "--limit", "5") == 0
    shown = dict(line.split() for line in capsys.readouterr().out.splitlines() if line[:2] == "  ")
    for group, figures in evaluated["metrics"].items():
        if not group.startswith("drift"):
            assert {
                name: f"{value:.4f}" for name, value in figures.items()
            }.items() <= shown.items()
    assert "kl" not in shown


def test_a_version_has_not_drifted_from_itself_but_has_from_another(
    folder: Path, evaluated: Evaluation
) -> None:
    same, out = str(folder / "tiny-version"), folder / "same"
    assert run(folder, "scenes", "--base", same, "--limit", "2", "--out", str(out)) == 0
    drift = json.loads((out / "metrics.json").read_text())["metrics"]["drift from the base"]
    assert (drift["kl"], drift["log_ratio"]) == (0, 0)
    moved = evaluated["metrics"]["drift from the base"]
    assert abs(moved["kl"]) > 0
    assert abs(moved["log_ratio"]) > 0


@pytest.mark.parametrize("layout", ["files", "coco", "coco in images/"])
def test_other_layouts_give_the_same_figures(
    folder: Path, evaluated: Evaluation, tmp_path: Path, layout: str
) -> None:
    pictures = json.loads((folder / "scenes/captions.json").read_text())["pictures"]
    home = tmp_path / "images" if layout == "coco in images/" else tmp_path
    home.mkdir(exist_ok=True)
    for each in pictures:
        shutil.copy(folder / "scenes" / each["file"], home)
    if layout == "files":
        content: object = {each["file"]: each["captions"] for each in pictures}
        (tmp_path / "captions.json").write_text(json.dumps(content))
    else:
        content = {
            "images": [{"id": n, "file_name": each["file"]} for n, each in enumerate(pictures)],
            "annotations": [
                {"id": 0, "image_id": n, "caption": caption}
                for n, each in enumerate(pictures)
                for caption in each["captions"]
            ],
        }
        (tmp_path / "annotations.json").write_text(json.dumps(content))
    version, out = str(folder / "tiny-version"), str(tmp_path / "out")
    assert main(["evaluate", "--version", version, "--data", str(tmp_path), "--out", out]) == 0
    figures = json.loads((tmp_path / "out/metrics.json").read_text())["metrics"]
    shared = ("traditional", "evaluators", "retrieval", "fluency")
    assert figures == {group: evaluated["metrics"][group] for group in shared}


class Page(HTMLParser):
    """Collects what a browser would load, and the text it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_else_and_shows_text_as_text(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "scenes/001.jpg", tmp_path / "a.jpg")
    evil = "<script>alert(1)</script> & <img src=x>"
    (tmp_path / "captions.json").write_text(json.dumps({"a.jpg": [evil]}))
    version, out = str(folder / "tiny-version"), str(tmp_path / "out")
    assert main(["evaluate", "--version", version, "--data", str(tmp_path), "--out", out]) == 0
    page = Page()
    page.feed((tmp_path / "out/report.html").read_text())
    assert evil in page.text
    assert "script" not in page.tags
    assert page.loaded
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.loaded)
    assert page.tags.count("svg") == 12


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "has neither captions.json nor annotations.json"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        ([], "is neither a list of pictures nor COCO's annotations"),
        ({}, "names no picture"),
        ({"a.jpg": []}, "has no list of captions"),
        ({"a.jpg": "a dog"}, "has no list of captions"),
        ({"a.jpg": [" "]}, "is no text"),
        ({"a.jpg": [3]}, "is no text"),
        ({"a.jpg": ["a" * 5000]}, "is too long"),
        ({"b.jpg": ["a dog"]}, "which is not there"),
        ({"../outside.jpg": ["a dog"]}, "lies outside the folder"),
        ({"/etc/passwd": ["a dog"]}, "lies outside the folder"),
        ({"link.jpg": ["a dog"]}, "lies outside the folder"),
        ({"a\0.jpg": ["a dog"]}, "is no name"),
        ({"a" * 5000: ["a dog"]}, "cannot be looked up"),
        ({"text.jpg": ["a dog"]}, "no picture that can be read"),
        ({"pictures": [{"file": "a.jpg"}]}, "entry without file, captions or known image id"),
        ({"pictures": ["a.jpg"]}, "entry without file, captions or known image id"),
        (
            {"pictures": [{"file": "a.jpg", "captions": ["a"], "scene": {"seed": 1}}]},
            "a scene that is none",
        ),
        (
            {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 2}]},
            "entry without file, captions or known image id",
        ),
        ({"images": [{"id": [], "file_name": "a.jpg"}], "annotations": []}, "entry without"),
    ],
)
def test_data_that_cannot_be_used_is_named_in_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: Any, said: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for place in (data / "a.jpg", tmp_path / "outside.jpg"):
        shutil.copy(folder / "scenes/001.jpg", place)
    (data / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (data / "text.jpg").write_text("no picture")
    if content is not None:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        (data / "captions.json").write_bytes(raw)
    version = str(folder / "tiny-version")
    assert main(["evaluate", "--version", version, "--data", str(data)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"error: .*\n", printed.err)
    assert said in printed.err


@pytest.mark.parametrize(
    "broken",
    ["missing", "training/config.json", "training/evaluators.safetensors", "tokenizer.json"],
)
def test_a_folder_that_is_no_version_is_named_in_one_sentence(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], broken: str
) -> None:
    version = tmp_path / "version"
    if broken != "missing":
        shutil.copytree(folder / "tiny-version", version)
        (version / broken).write_bytes(b"\x00nonsense\n\n")
    assert main(["evaluate", "--version", str(version), "--data", str(folder / "scenes")]) == 2
    printed = capsys.readouterr()
    assert re.fullmatch(r"error: .* cannot be opened as a version: .*\n", printed.err)


def test_a_base_with_another_tokenizer_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder / "tiny-version", tmp_path / "other")
    other = Tokenizer.train(["another text altogether"], vocab_size=262).to_json()
    (tmp_path / "other/tokenizer.json").write_text(other)
    assert run(folder, "scenes", "--base", str(tmp_path / "other")) == 2
    assert "has another tokenizer" in capsys.readouterr().err
