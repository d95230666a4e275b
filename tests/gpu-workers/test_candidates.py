"""Candidates beyond beams and samples, settings by size, and rewards of lists."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from dico.base_version import BaseVersion
from dico.candidates import CandidateMaker, early_endings
from dico.data_set import RatedImage, Rating
from dico.job import candidate_maker
from dico.lists import cider_reward, source_of
from dico.material import Material, join_thumbs
from dico.preferences import fit_preferences
from dico.screening import Rejection
from dico.search import beam_search
from dico.settings import settle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def base() -> BaseVersion:
    torch.set_num_threads(1)
    return BaseVersion.open(ROOT / "models/scenes-base", torch.device("cpu"))


@pytest.fixture(scope="module")
def features(base: BaseVersion) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return base.tower(torch.randn(1, 3, base.image_size, base.image_size))


def test_an_early_end_is_the_beginning_of_a_beam_with_its_true_probability(
    base: BaseVersion, features: torch.Tensor
) -> None:
    hidden = base.captioner.encode(features)
    with torch.no_grad():
        whole = beam_search(base.captioner, hidden, num_beams=2)[0]
        ends = early_endings(base.captioner, hidden, [whole])[0]
        assert len(ends) == len(
            {each.tokens[:n] for each in whole for n in range(1, len(each.tokens))}
        )
        for end in (ends[0], ends[-1]):
            assert any(each.tokens[: len(end.tokens)] == end.tokens for each in whole)
            logits = base.captioner(features, torch.tensor([[0, *end.tokens]]))
            labels = torch.tensor([[*end.tokens, base.captioner.config.eos_id]])
            logps = logits.log_softmax(dim=-1).gather(-1, labels[..., None])
            assert end.logp == pytest.approx(float(logps.sum()), abs=1e-3)


def test_candidates_of_one_image_do_not_depend_on_its_neighbours(
    base: BaseVersion, features: torch.Tensor
) -> None:
    maker = CandidateMaker(base.captioner, base.pac)

    def seeds(count: int) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed) for seed in range(count)]

    alone = maker.draw(features, seeds(1))[0]
    together = maker.draw(torch.cat([features, features.flip(1)]), seeds(2))[0]
    assert alone[0] == together[0]


def test_auto_follows_the_number_of_thumbs_and_what_is_given_stays() -> None:
    few, many = (settle({"type": "dico"}, thumbs, thumbs) for thumbs in (100, 3_000))
    assert (few.on_policy, many.on_policy) == (False, True)
    assert few.update.steps == 60
    assert many.update.steps == 1_125
    given = {"beta": 0.3, "candidates": 9, "n_epochs": 1, "on_policy": True}
    own = settle({"type": "dico", "dico": {"hyperparameters": given}}, 100, 100)
    assert (own.update.beta, own.candidates, own.on_policy) == (0.3, 9, True)
    assert own.update.steps == 13
    assert settle({"type": "dpo"}, 100, 100).update.losers == 1


def test_cider_rewards_what_viewers_liked_of_the_picture(
    base: BaseVersion, features: torch.Tensor
) -> None:
    maker = candidate_maker(base, settle({"type": "scst"}, 20, 20))
    generator = torch.Generator().manual_seed(1)
    tokens, top = maker.draw(features, [generator])[0]
    candidates = maker.score(features, tokens, top)
    said = [base.tokenizer.decode(ids) for ids in candidates.tokens]
    ratings = ((Rating(said[1], True, None, "anna"),), (Rating(said[0], False, None, "anna"),))
    pictures = [
        join_thumbs(
            index, RatedImage(str(index), "train", rated), features, candidates, base, maker,
            Counter(),
        )
        for index, rated in enumerate(ratings)
    ]  # fmt: skip
    others = [
        join_thumbs(
            2, RatedImage("2", "train", (Rating("a dog on the beach", True, None, "ben"),)),
            features, candidates, base, maker, Counter(),
        )
    ]  # fmt: skip
    reward = cider_reward(Material(pictures + others, {}), base)
    worth = reward(pictures[0], pictures[0].candidates)
    assert int(worth.argmax()) == 1
    assert not bool(reward(pictures[1], pictures[1].candidates).any())


def test_pictures_with_one_candidate_each_teach_nothing(
    base: BaseVersion, features: torch.Tensor
) -> None:
    settings = settle({"type": "dico"}, 20, 20)
    maker = candidate_maker(base, settings)
    alone = maker.score(features, [tuple(base.tokenizer.encode("a dog"))[1:-1]], 0.0)
    rated = RatedImage("0", "train", ())
    pictures = [join_thumbs(0, rated, features, alone, base, maker, Counter())]
    noise = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    preferences = fit_preferences(noise, noise[:, 0] > 0, torch.arange(20), noise)
    with pytest.raises(Rejection, match="two different captions") as raised:
        source_of(Material(pictures, {}), preferences, base, maker, settings, seed=1)
    assert raised.value.code == "NOTHING_TO_LEARN"
