"""Fluency, retrieval, drift, facts, and the Java programs' presence."""

import math

import pytest
import torch
from dico.metrics import java
from dico.metrics.drift import log_ratio, sampled_kl
from dico.metrics.facts import Judged, facts
from dico.metrics.fluency import fluency
from dico.metrics.retrieval import retrieval


def test_fluency_by_hand() -> None:
    """7 words, "a" said twice by the first; 5 pairs, "a dog" twice; 3 triples, 1 quadruple."""
    figures = fluency(["a dog a dog".split(), "a cat on".split()])
    assert figures["rep_1"] == pytest.approx(2 / 7)
    assert figures["rep_2"] == pytest.approx(1 / 5)
    assert figures["rep_3"] == figures["rep_4"] == 0
    assert figures["distinct_1"] == pytest.approx(4 / 7)
    assert figures["distinct_2"] == pytest.approx(4 / 5)
    assert figures["distinct_4"] == 1
    assert figures["bad_endings"] == 0.5
    assert (figures["vocabulary"], figures["mean_length"]) == (4, 3.5)


def test_an_empty_caption_ends_badly_and_repeats_nothing() -> None:
    figures = fluency([[]])
    assert (figures["bad_endings"], figures["rep_1"], figures["mean_length"]) == (1, 0, 0)


def test_retrieval_by_hand() -> None:
    """Ranks 1, 2 and 3."""
    similarity = torch.tensor([[0.9, 0.1, 0.2], [0.8, 0.5, 0.2], [0.9, 0.8, 0.7]])
    figures = retrieval(similarity)
    assert figures["recall_at_1"] == pytest.approx(1 / 3)
    assert figures["recall_at_5"] == figures["recall_at_10"] == 1
    assert figures["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)


def test_a_captioner_that_always_says_the_same_is_found_last() -> None:
    figures = retrieval(torch.full((20, 20), 0.5))
    assert figures == {
        "recall_at_1": 0.0,
        "recall_at_5": 0.0,
        "recall_at_10": 0.0,
        "mrr": pytest.approx(1 / 20),
    }


@pytest.mark.parametrize("shape", [(2, 3), (0, 0), (4,)])
def test_retrieval_refuses_what_has_no_diagonal(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="square"):
        retrieval(torch.zeros(shape))


def test_sampled_kl_approaches_the_exact_kl() -> None:
    policy, reference = torch.tensor([0.7, 0.2, 0.1]), torch.tensor([0.3, 0.3, 0.4])
    exact = float((policy * (policy / reference).log()).sum())
    drawn = torch.multinomial(policy, 20_000, True, generator=torch.Generator().manual_seed(0))
    kl = sampled_kl(policy.log()[drawn], reference.log()[drawn])
    assert abs(kl.mean - exact) < 4 * kl.standard_error
    assert 0 < kl.standard_error < 0.01


def test_an_unmoved_policy_has_a_kl_of_zero_and_one_sample_no_error() -> None:
    assert sampled_kl(torch.tensor([-3.0, -4.0]), torch.tensor([-3.0, -4.0])) == (0.0, 0.0)
    mean, error = log_ratio(torch.tensor([-5.0]), torch.tensor([-3.5]))
    assert mean == -1.5
    assert math.isnan(error)


def test_facts_by_hand() -> None:
    judged = {
        "good": Judged(right=3, wrong=0, invented=0, named=2, things=2),
        "bad": Judged(right=1, wrong=2, invented=1, named=1, things=3),
        "babble": Judged(right=0, wrong=0, invented=0, named=0, things=1, readable=False),
    }
    seen: list[tuple[str, int]] = []

    def judge(caption: str, image: int) -> Judged:
        seen.append((caption, image))
        return judged[caption]

    assert facts(list(judged), [7, 8, 9], judge) == {
        "facts_right": pytest.approx(4 / 6),
        "hallucinated": pytest.approx(1 / 3),
        "recall": pytest.approx(3 / 6),
        "all_right": pytest.approx(1 / 3),
        "readable": pytest.approx(2 / 3),
    }
    assert seen == [("good", 7), ("bad", 8), ("babble", 9)]


def test_without_java_meteor_and_spice_are_absent_and_say_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    assert java.available() == {}
    assert java.missing("meteor") == java.missing("spice") == "java is not on the path"
    for metric in (java.meteor, java.spice):
        with pytest.raises(java.JavaToolError, match="java is not on the path"):
            metric([["a", "dog"]], [[["a", "dog"]]])
