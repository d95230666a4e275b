"""Training on facts: what a claim is worth, and that false captions become rarer."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dico.base_version import BaseVersion
from dico.pretraining.bank import BANK_SEED, Bank, build_bank
from dico.pretraining.facts import REPEATED, UNGRAMMATICAL, WORTH, facts_loss, worth
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


def test_a_bank_grows_and_keeps_what_it_has(tmp_path: Path) -> None:
    tower = Tower(TowerConfig(widths=(4, 4, 4, 4))).eval().requires_grad_(False)
    build_bank(tower, tmp_path, count=5, views=2, workers=0)
    first = np.array(Bank(tmp_path).grids)
    build_bank(tower, tmp_path, count=8, views=2, workers=0)
    grown = Bank(tmp_path)
    assert np.array_equal(grown.grids[:5], first)
    assert grown.grids.shape[0] == len(grown.entries) == 8
    assert grown.views.shape[0] == 2
    whole = tmp_path / "whole"
    whole.mkdir()
    build_bank(tower, whole, count=8, views=2, workers=0)
    assert json.loads((whole / "bank.json").read_text()) == grown.entries
    np.testing.assert_allclose(grown.grids, Bank(whole).grids, atol=1e-2)
