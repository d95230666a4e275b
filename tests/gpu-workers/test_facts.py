"""Training on facts: what a claim is worth, and that false captions become rarer."""

from __future__ import annotations

import copy
import json
from itertools import islice
from pathlib import Path

import pytest
import torch
from dico.base_version import BaseVersion
from dico.cli import main
from dico.pretraining.bank import BANK_SEED
from dico.pretraining.facts import (
    CAPTIONS,
    FIRST_SCENE,
    REPEATED,
    UNGRAMMATICAL,
    WORTH,
    Drawn,
    NewScenes,
    facts_loss,
    worth,
)
from dico.pretraining.steps import facts, published_models, trained_captioner
from dico.tokenizer import Tokenizer
from dico.tower import Tower, TowerConfig
from scenes.checker import check
from scenes.grammar import human_captions
from scenes.sampler import sample_scene

ROOT = Path(__file__).parents[2]
SCENES = [sample_scene(BANK_SEED + row) for row in range(60)]


def test_every_persons_caption_is_worth_something_and_a_strangers_less() -> None:
    true = [worth(check(text, scene)) for scene in SCENES for text in human_captions(scene)]
    assert min(true) > 0
    strangers = zip(SCENES, [*SCENES[1:], SCENES[0]], strict=True)
    false = [worth(check(text, scene)) for scene, o in strangers for text in human_captions(o)]
    assert sum(false) / len(false) < 0 < sum(true) / len(true)


def test_a_sentence_that_is_none_is_worth_least() -> None:
    assert worth(check("a dog dog on the", SCENES[0])) == UNGRAMMATICAL
    kind = SCENES[0].groups[0].kind
    named, again = (
        worth(check(text, SCENES[0])) for text in (f"a {kind}", f"a {kind} and a {kind}")
    )
    wrong_again = WORTH["kind"][1] + REPEATED
    assert again == pytest.approx(named + wrong_again)


def test_a_relation_pays_only_where_it_is_nearly_sure() -> None:
    right, wrong = WORTH["relation"]
    assert 0.85 < -wrong / (right - wrong) < 0.92


def test_steps_on_the_loss_make_captions_worth_more() -> None:
    torch.set_num_threads(1)
    base = BaseVersion.open(ROOT / "models/scenes-base", torch.device("cpu"))
    policy = copy.deepcopy(base.captioner).requires_grad_(True)
    torch.manual_seed(0)
    features = base.tower(torch.randn(2, 3, base.image_size, base.image_size))  # noise: it guesses
    optimiser = torch.optim.Adam(policy.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(1)
    earned: list[float] = []
    for _ in range(30):
        scenes = [SCENES[0], SCENES[0]]
        loss, mean = facts_loss(policy, policy.encode(features), scenes, base.tokenizer, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        earned.append(float(mean))
    assert sum(earned[-5:]) > sum(earned[:5])


def test_new_scenes_come_once_and_an_interrupted_stream_goes_on_where_it_was() -> None:
    tower = Tower(TowerConfig(widths=(4, 4, 4, 4))).eval().requires_grad_(False)
    tokenizer = Tokenizer.load(ROOT / "models/scenes-base/tokenizer.json")

    def batches(seed: int, step: int, count: int) -> list[Drawn]:
        return list(islice(NewScenes(tower, tokenizer, batch=3, seed=seed, step=step), count))

    whole = batches(1, 0, 3)
    seeds = [scene.seed for scenes, _, _ in whole for scene in scenes]
    assert len(set(seeds)) == 9
    assert min(seeds) >= FIRST_SCENE
    assert not set(seeds) & {scene.seed for scenes, _, _ in batches(2, 0, 3) for scene in scenes}
    scenes, features, captions = batches(1, 2, 1)[0]
    assert scenes == whole[2][0]
    assert torch.equal(features, whole[2][1])
    assert captions == whole[2][2]
    said = [tokenizer.decode(tokens) for tokens in captions]
    for number, scene in enumerate(scenes):
        assert set(said[CAPTIONS * number :][:CAPTIONS]) <= set(human_captions(scene))


def test_training_on_facts_starts_from_a_version_and_leaves_what_release_reads(
    tmp_path: Path,
) -> None:
    version = ROOT / "models/scenes-base"
    facts(tmp_path, 1 / 600, 1, version)
    tower, published = published_models(version)
    trained = trained_captioner(tmp_path, tower, "facts.pt")
    assert trained.config == published.config
    assert any(
        not torch.equal(own, other)
        for own, other in zip(trained.parameters(), published.parameters(), strict=True)
    )


def test_a_published_version_is_measured_on_other_scenes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    version = ROOT / "models/scenes-base"
    options = ["--from", str(version), "--folder", str(tmp_path), "--count", "8"]
    measured = []
    for first in ("5000", "6000"):
        assert main(["pretrain", "measure", *options, "--first", first]) == 0
        measured.append(json.loads(capsys.readouterr().out))
    for figures in measured:
        assert figures["seen styles"]["captions"] == figures["noto"]["captions"] == 8
        assert figures["fluent"]["captions"] == 2
    assert measured[0] != measured[1]
