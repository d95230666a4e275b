"""A fine-tune job in its folder: thumbs in, a signed version out, whatever happens in between."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dico.base_version import BaseVersion
from dico.evaluators.clip import Clip, ClipConfig
from dico.evaluators.storage import load_evaluators, save_evaluators
from dico.export.manifest import read_version
from dico.pixels import load_pixels
from dico.run_job import run_job
from dico.search import beam_search
from PIL import Image
from server.contract import LearningReport

FIXTURES = Path(__file__).parents[1] / "fixtures"
PACKAGES = Path(__file__).parents[2] / "gpu-workers"
KEY = json.loads((FIXTURES / "tiny-version-key.json").read_text())
IMAGES = 30


@pytest.fixture(scope="module")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny version with an evaluator that knows nothing."""
    folder = tmp_path_factory.mktemp("base") / "tiny"
    shutil.copytree(FIXTURES / "tiny-version", folder)
    captioner = json.loads((folder / "training/config.json").read_text())["captioner"]
    sizes = ("feature_width", "feature_tokens", "vocab_size", "max_tokens")
    torch.manual_seed(0)
    config = ClipConfig(**{name: captioner[name] for name in sizes}, width=16, heads=2, ffn=16)
    clip = Clip(config)
    save_evaluators(folder / "training/evaluators.safetensors", clip, clip)
    return folder


def picture(seed: int) -> bytes:
    blocks = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(blocks).resize((60, 48), Image.Resampling.NEAREST).save(file, "PNG")
    return file.getvalue()


def make_job(folder: Path, base_folder: Path, **hyperparameters: object) -> Path:
    """A job on captions that the base itself made; longer ones are liked."""
    base = BaseVersion.open(base_folder, torch.device("cpu"))
    (folder / "images").mkdir(parents=True)
    examples: list[dict[str, Any]] = []
    said: list[str] = []
    for seed in range(IMAGES):
        file = picture(seed)
        digest = hashlib.sha256(file).hexdigest()
        (folder / "images" / digest).write_bytes(file)
        pixels = torch.from_numpy(load_pixels(file, base.image_size))[None]
        best = beam_search(base.captioner, base.captioner.encode(base.tower(pixels)))[0][0]
        said.append(base.tokenizer.decode(best.tokens))
        split = "held_out" if seed % 5 == 0 else "train"
        examples.append({"image": {"sha256": digest}, "split": split})
    middle = sorted(len(text) for text in said)[IMAGES // 2]
    for example, text in zip(examples, said, strict=True):
        rating = "up" if len(text) >= middle else "down"
        example["ratings"] = [
            {"caption": text, "rating": rating, "correction": None, "end_user": "anna"}
        ]
    (folder / "dataset.json").write_text(json.dumps({"examples": examples}))
    job = {
        "job_id": "ftjob-0123456789",
        "model": "scenes",
        "parent_manifest_sha256": None,
        "dataset": {"sha256": "0" * 64},
        "method": {"type": "dico", "dico": {"hyperparameters": hyperparameters}},
        "seed": 3,
    }
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def test_a_job_ends_in_a_signed_version_that_names_its_origin(
    base_folder: Path, tmp_path: Path
) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    result = run_job(folder, base_folder, KEY["seed"])
    assert result["status"] == "succeeded", result
    assert json.loads((folder / "result.json").read_text()) == result
    manifest = read_version(folder / "version", [KEY["public_key"]])
    assert manifest.lineage.job_id == "ftjob-0123456789"
    assert manifest.parity["token_exact_fp32"] == 1.0
    evaluation = result["evaluation"]
    assert evaluation["examples"]["images"] == IMAGES
    assert manifest.metrics == evaluation
    states = [line["state"] for line in lines(folder) if line["type"] == "state"]
    assert states == ["training", "evaluating", "exporting"]
    phases = {line["phase"] for line in lines(folder) if line["type"] == "progress"}
    assert phases == {"candidates", "dico"}


def test_the_encoder_keeps_its_bytes(base_folder: Path, tmp_path: Path) -> None:
    """So that base and tenant versions share the file, the cache and the session."""
    folder = make_job(tmp_path / "job", base_folder)
    run_job(folder, base_folder, KEY["seed"])
    name = "onnx/encoder_model.onnx"
    assert (folder / "version" / name).read_bytes() == (base_folder / name).read_bytes()
    decoder = "onnx/decoder_model_merged.onnx"
    assert (folder / "version" / decoder).read_bytes() != (base_folder / decoder).read_bytes()


def test_a_killed_job_goes_on_and_ends_in_the_very_same_version(
    base_folder: Path, tmp_path: Path
) -> None:
    whole = make_job(tmp_path / "whole", base_folder, n_epochs=30)
    killed = make_job(tmp_path / "killed", base_folder, n_epochs=30)
    expected = run_job(whole, base_folder, KEY["seed"])
    command = [sys.executable, "-m", "dico", "update", "--job-dir", str(killed)]
    command += ["--base", str(base_folder)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(PACKAGES),
        "DICO_SIGNING_KEY": KEY["seed"],
    }
    with subprocess.Popen(command, env=environment) as process:
        deadline = time.monotonic() + 120
        while not (killed / "checkpoint/policy.pt").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.005)
        process.kill()
    assert not (killed / "result.json").exists()
    subprocess.run(command, env=environment, check=True)
    result = json.loads((killed / "result.json").read_text())
    assert result["manifest_sha256"] == expected["manifest_sha256"]


def test_on_policy_candidates_train_too(base_folder: Path, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", base_folder, on_policy=True, n_epochs=1)
    assert run_job(folder, base_folder, KEY["seed"])["status"] == "succeeded"


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("sft", {}),
        ("dpo", {}),
        ("scst", {"baseline": "greedy"}),
        ("scst", {"reward": "cider"}),
        ("scst", {"reward": "clip_s"}),
        ("scst", {"reward": "pac_s"}),
    ],
)
def test_every_method_ends_in_a_version(
    base_folder: Path, tmp_path: Path, method: str, settings: dict[str, str]
) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    job = json.loads((folder / "job.json").read_text())
    given = {"n_epochs": 1} | settings
    job["method"] = {"type": method, method: {"hyperparameters": given}}
    (folder / "job.json").write_text(json.dumps(job))
    assert run_job(folder, base_folder, KEY["seed"])["status"] == "succeeded"


def edit_ratings(
    folder: Path, change: Callable[[int, dict[str, Any]], list[dict[str, Any]]]
) -> None:
    """Replaces each image's only rating by what `change` makes of it."""
    content = json.loads((folder / "dataset.json").read_text())
    for number, example in enumerate(content["examples"]):
        example["ratings"] = change(number, example["ratings"][0])
    (folder / "dataset.json").write_text(json.dumps(content))


def test_thumbs_that_are_all_alike_are_rejected_and_say_what_would_help(
    base_folder: Path, tmp_path: Path
) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    edit_ratings(folder, lambda _, rating: [{**rating, "rating": "up"}])
    result = run_job(folder, base_folder, KEY["seed"])
    assert (result["status"], result["code"]) == ("rejected", "THUMBS_ALL_ALIKE")
    assert "At least 3 thumbs down are needed." in result["help"]
    assert not (folder / "version").exists()
    assert json.loads((folder / "report.json").read_text())["evaluation"] is None


def test_too_few_thumbs_are_rejected_with_how_many_more(base_folder: Path, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    content = json.loads((folder / "dataset.json").read_text())
    content["examples"] = content["examples"][:12]
    (folder / "dataset.json").write_text(json.dumps(content))
    result = run_job(folder, base_folder, KEY["seed"])
    assert (result["status"], result["code"]) == ("rejected", "TOO_FEW_THUMBS")
    train = sum(example["split"] == "train" for example in content["examples"])
    assert f"{16 - train} more thumbs" in result["help"][0]


def test_nothing_is_published_that_no_image_could_check(base_folder: Path, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    for example in json.loads((folder / "dataset.json").read_text())["examples"]:
        if example["split"] == "held_out":
            (folder / "images" / example["image"]["sha256"]).write_bytes(b"no image")
    result = run_job(folder, base_folder, KEY["seed"])
    assert (result["status"], result["code"]) == ("rejected", "TOO_FEW_THUMBS")
    assert "kept back" in result["message"]
    assert not (folder / "version").exists()


def test_viewers_who_contradict_each_other_are_named(base_folder: Path, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    opposite = {"up": "down", "down": "up"}

    def with_ben(_number: int, rating: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            rating,
            {**rating, "rating": opposite[rating["rating"]], "end_user": "ben"},
        ]

    edit_ratings(folder, with_ben)
    result = run_job(folder, base_folder, KEY["seed"])
    assert (result["status"], result["code"]) == ("rejected", "CONTRADICTORY_THUMBS")
    assert set(result["end_users"]) == {"anna", "ben"}
    assert "“anna” and “ben” disagree on 24 captions." in result["help"]


def test_the_report_holds_pictures_curves_and_time_per_phase(
    base_folder: Path, tmp_path: Path
) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    run_job(folder, base_folder, KEY["seed"])
    report = LearningReport.model_validate_json((folder / "report.json").read_text())
    assert len(report.pictures) == IMAGES / 5
    assert report.curves.steps[0] == 0
    assert {"loss", "reward", "margin", "kl", "winner_logp"} <= set(report.curves.series)
    assert [phase.name for phase in report.phases] == [
        "image features", "candidates", "preferences", "update", "held-out checks", "export",
    ]  # fmt: skip
    assert report.settings["beta"] == 1.0


def test_an_unreadable_image_is_left_out_and_said(base_folder: Path, tmp_path: Path) -> None:
    folder = make_job(tmp_path / "job", base_folder)
    broken = sorted((folder / "images").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:100])
    result = run_job(folder, base_folder, KEY["seed"])
    assert result["evaluation"]["examples"]["images"] == IMAGES - 1
    assert "left out: 1 x unreadable image" in {line.get("message") for line in lines(folder)}


def test_evaluators_survive_their_file(tmp_path: Path) -> None:
    config = ClipConfig(feature_width=6, feature_tokens=4, width=8, heads=2, ffn=8, vocab_size=17)
    torch.manual_seed(0)
    clip, pac = Clip(config), Clip(config)
    pac.load_state_dict(clip.state_dict() | {"image_projection.weight": torch.eye(8)})
    save_evaluators(tmp_path / "evaluators.safetensors", clip, pac)
    read_clip, read_pac = load_evaluators(tmp_path / "evaluators.safetensors")
    features = torch.randn(2, 4, 6)
    torch.testing.assert_close(
        read_clip.embed_images(features),
        clip.embed_images(features),
        rtol=0.02,
        atol=0.02,
    )
    torch.testing.assert_close(
        read_pac.embed_images(features),
        pac.embed_images(features),
        rtol=0.02,
        atol=0.02,
    )
