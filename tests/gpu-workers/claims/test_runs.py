"""The comparison on a captioner that knows nothing: every method runs and is kept."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dico.base_version import BaseVersion
from dico.captioner import Captioner, CaptionerConfig
from dico.claims import plan, table
from dico.claims.cli import write
from dico.claims.curves import PANELS, curves_svg, series_of
from dico.claims.methods import PRESSED_RATES, START, ablated, compared, pressed, pressed_name
from dico.claims.pictures import load_pictures, see_all
from dico.claims.training import train_and_measure
from dico.claims.verdicts import DICO, XE, verdicts
from dico.evaluators.clip import Clip, ClipConfig
from dico.evaluators.storage import save_evaluators
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig
from scenes.grammar import human_captions
from scenes.sampler import sample_scene

COUNTS = {"train": 8, "validation": 2, "seen": 3, "held_out": 3}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseVersion:
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(1)
    tower = Tower(TowerConfig(widths=(4, 4, 4, 8))).eval().requires_grad_(False)
    captions = [caption for seed in range(60) for caption in human_captions(sample_scene(seed))]
    tokenizer = Tokenizer.train(captions, vocab_size=1024)
    sizes = {
        "feature_width": tower.config.feature_width,
        "feature_tokens": 64,
        "vocab_size": tokenizer.vocab_size,
        "width": 16,
        "heads": 2,
    }
    config = CaptionerConfig(**sizes, encoder_layers=1, decoder_layers=1)
    captioner = Captioner(config).eval().requires_grad_(False)
    # Captions shall end somewhere: an untrained captioner hardly ever says EOS.
    captioner.token_embedding.weight[config.eos_id] *= 20
    clip, pac = (
        Clip(ClipConfig(**sizes, ffn=16, text_layers=1)).eval().requires_grad_(False)
        for _ in range(2)
    )
    (folder / "training").mkdir()
    save_evaluators(folder / "training" / "evaluators.safetensors", clip, pac)
    device = torch.device("cpu")
    return BaseVersion(folder, "m", "t", tower, captioner, tokenizer, clip, pac, device)


@pytest.fixture(scope="module")
def pictures(base: BaseVersion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "pictures.pt"
    see_all(base, COUNTS, path)
    return path


def test_no_scene_is_in_two_sets_and_the_styles_are_of_the_same_scenes(pictures: Path) -> None:
    seeds = {name: {s.seed for s in load_pictures(pictures, name).scenes} for name in COUNTS}
    assert seeds["seen"] == seeds["held_out"]
    assert not seeds["train"] & (seeds["validation"] | seeds["seen"])
    assert not seeds["validation"] & seeds["seen"]


@pytest.mark.parametrize("name", [START, *(m.name for m in (*compared(), *pressed(), *ablated()))])
def test_every_method_trains_and_is_measured(base: BaseVersion, pictures: Path, name: str) -> None:
    steps = 0 if name == START else 1
    record = train_and_measure(plan.Run(name, 1, 1e-3, steps), base, pictures)
    assert [row["style"] for row in record["rows"]] == ["seen", "held_out"]
    assert set(table.COLUMNS) <= set(record["rows"][0]["metrics"])
    assert set(PANELS) <= set(record["curves"][-1])
    assert json.loads(json.dumps(record)) == record
    if name == START:
        assert record["rows"][0]["metrics"]["kl"] == pytest.approx(0.0, abs=1e-4)
        assert record["rows"][0]["metrics"]["preferred_to_start"] == 0.5


def test_a_seed_gives_one_result(base: BaseVersion, pictures: Path) -> None:
    run = plan.Run(DICO, 2, 1e-3, 2)
    first, second = (train_and_measure(run, base, pictures) for _ in range(2))
    assert first["rows"] == second["rows"]


def record_of(method: str, seed: int, **metrics: float) -> dict[str, object]:
    names = (*table.COLUMNS, "repetition", "ref_clip_s")
    figures = {**dict.fromkeys(names, 0.5), "bad_endings": 0.0, "repetition": 0.0} | metrics
    rows = [{"style": style, "metrics": figures} for style in ("seen", "held_out")]
    point = {"step": 0.0, **dict.fromkeys(PANELS, 1.0)}
    return {
        "method": method,
        "reward": "pac_s",
        "seed": seed,
        "learning_rate": 1e-4,
        "steps": 3,
        "chooses_rate": False,
        "rows": rows,
        "curves": [point, point | {"step": 3.0}],
        "examples": ["a dog"],
        "scores": [{"evaluator_sha256": "e" * 64}],
        "seconds": 1.0,
    }


def test_the_rate_with_the_highest_score_is_taken_and_the_smaller_of_equals() -> None:
    records = []
    for rate, score in ((2e-4, 0.7), (6e-5, 0.7), (2e-5, 0.6)):
        records.append(record_of(DICO, 1, ref_pac_s=score) | {"learning_rate": rate})
    assert plan.best_rates(records) == {DICO: 6e-5}


def test_finished_runs_are_not_run_again_unless_made_with_something_else(tmp_path: Path) -> None:
    """The base's folder does not exist, so running anything would fail."""
    work = plan.Work(tmp_path / "none", tmp_path / "none.pt", tmp_path, {"base": "a"}, 1)
    run = plan.Run(DICO, 1, 1e-4, 3)
    record = record_of(DICO, 1) | {"made_with": {"base": "a"}}
    (tmp_path / run.file_name).write_text(json.dumps(record))
    assert plan.finish(work, [run]) == [record]
    assert plan.kept(work, replace(run, steps=4)) is None
    assert plan.kept(work, replace(run, learning_rate=2e-4)) is None
    assert plan.kept(replace(work, made_with={"base": "b"}), run) is None


def all_records(**changed: dict[str, float]) -> list[dict[str, object]]:
    names = [START, *(method.name for method in compared())]
    return [record_of(name, seed, **changed.get(name, {})) for seed in (1, 2) for name in names]


def holds(**changed: dict[str, float]) -> list[str]:
    figures = table.figures_of(table.rows_of(all_records(**changed)))
    return [verdict.holds for verdict in verdicts(figures)]


def test_nothing_is_claimed_where_nothing_differs() -> None:
    assert holds() == ["no", "not shown", "no", "yes"]


def test_claims_that_the_numbers_bear_out_hold() -> None:
    better = {"clip_s": 0.6, "pac_s": 0.6, "preferred_to_start": 0.6}
    drifted = {"SCST (PAC-S)": {"repetition": 0.4}}
    assert holds(**{DICO: better}, **drifted) == ["yes"] * 4
    one_seed = [record for record in all_records(**{DICO: better}) if record["seed"] == 1]
    figures = table.figures_of(table.rows_of(one_seed))
    assert [verdict.holds for verdict in verdicts(figures)] == ["no", "not shown", "no", "yes"]


@pytest.mark.parametrize(("dico", "verdict"), [(0.0, "yes"), (0.2, "in part"), (0.4, "no")])
def test_fluency_is_judged_at_the_equal_rate_where_scst_drifts(dico: float, verdict: str) -> None:
    rate = PRESSED_RATES[-1]
    broken = {DICO: dico, "SCST (CLIP-S)": 0.0, "SCST (PAC-S)": 0.3}
    records = all_records() + [
        record_of(pressed_name(name, rate), seed, bad_endings=share)
        for name, share in broken.items()
        for seed in (1, 2)
    ]
    fluent = verdicts(table.figures_of(table.rows_of(records)))[1]
    assert fluent.holds == verdict
    assert f"{pressed_name('SCST (PAC-S)', rate)} 0.300" in fluent.because


def test_claims_that_the_numbers_deny_do_not_hold() -> None:
    worse = {"clip_s": 0.4, "pac_s": 0.6, "bad_endings": 0.3, "cider": 0.1}
    assert holds(**{DICO: worse}, **{XE: {"preferred_to_start": 0.9}}) == [
        "in part", "no", "no", "in part"
    ]  # fmt: skip


def test_the_page_names_every_method_and_the_curves_are_a_picture(tmp_path: Path) -> None:
    budget = plan.budget_of(3, 2, quick=True)
    work = plan.Work(tmp_path, tmp_path, tmp_path / "runs", {"base": "a" * 64}, 1)
    rates = {method.name: 1e-4 for method in compared()}
    runs = [
        plan.start_run(),
        *plan.compared_runs(budget, rates),
        *plan.pressed_runs(budget),
        *plan.ablated_runs(budget, rates),
    ]
    (tmp_path / "runs").mkdir()
    for run in runs:
        record = record_of(run.method, run.seed) | {
            "learning_rate": run.learning_rate, "steps": run.steps, "made_with": work.made_with,
        }  # fmt: skip
        (work.records / run.file_name).write_text(json.dumps(record))
    searched = [record_of(name, 100) for name in rates]
    write(tmp_path, work, budget, searched, runs, started=0.0)
    page = (tmp_path / "claims.md").read_text()
    for method in (*compared(), *pressed(), *ablated()):
        assert f"| {method.name} |" in page
    rows = json.loads((tmp_path / "claims.json").read_text())
    assert len(rows) == 2 * len(runs)
    assert set(rows[0]) == {"method", "reward", "style", "seed", "steps", "metrics"}
    drawn = ElementTree.fromstring((tmp_path / "claims-curves.svg").read_text())
    assert drawn.tag.endswith("svg")
    assert curves_svg(series_of(all_records())).count("<g ") == len(PANELS)
