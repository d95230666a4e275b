"""The preference judge: fluency first, then facts."""

from __future__ import annotations

from dico.claims.judge import Verdict, judge
from scenes.grammar import human_captions
from scenes.sampler import sample_scene


def test_the_judge_prefers_fluency_then_facts() -> None:
    good, worse, broken = Verdict(True, 3, 1), Verdict(True, 3, 2), Verdict(False, 0, 0)
    assert (good.against(worse), worse.against(good), good.against(good)) == (1.0, 0.0, 0.5)
    assert Verdict(True, 0, 1).against(broken) == 1.0
    assert broken.score == 0


def test_the_judge_reads_the_scene() -> None:
    scene = sample_scene(5)
    truth = judge(human_captions(scene)[0], scene)
    assert truth.fluent
    assert truth.right > 0
    assert truth.wrong == 0
    assert not judge("dog a the of", scene).fluent
