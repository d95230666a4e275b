"""The update moves mass to winners, is repeatable and survives interruption."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from dico.candidates import CandidateMaker, score_sequences
from dico.captioner import Captioner, CaptionerConfig
from dico.evaluators.clip import Clip, ClipConfig
from dico.update import Example, Hyperparameters, StepReport, dico_update, fixed_lists

SIZES = {"feature_width": 6, "feature_tokens": 4, "width": 8, "heads": 2, "vocab_size": 17}
SETTINGS = Hyperparameters(steps=25, batch=4, learning_rate=3e-3, losers=3)


@pytest.fixture(scope="module")
def reference() -> Captioner:
    torch.manual_seed(2)
    config = CaptionerConfig(**SIZES, encoder_ffn=8, decoder_ffn=8, max_tokens=9)
    captioner = Captioner(config).eval().requires_grad_(False)
    captioner.token_embedding.weight.mul_(20)
    return captioner


@pytest.fixture(scope="module")
def examples(reference: Captioner) -> list[Example]:
    torch.manual_seed(3)
    evaluator = Clip(ClipConfig(**SIZES, ffn=8, max_tokens=12)).eval()
    maker = CandidateMaker(reference, evaluator, beams=2, samples=1)
    found: list[Example] = []
    for _ in range(10):
        features = torch.randn(1, 4, 6)
        tokens = [tuple(torch.randint(3, 17, (n,)).tolist()) for n in (1, 2, 3, 4, 5)]
        candidates = maker.score(features, tokens, top_logp=-5.0)
        found.append(Example(reference.encode(features)[0], candidates, torch.rand(5)))
    return found


def train(
    reference: Captioner, examples: list[Example], checkpoint: Path | None = None, steps: int = 25
) -> tuple[Captioner, list[StepReport]]:
    settings = Hyperparameters(**{**SETTINGS.__dict__, "steps": steps})
    reports: list[StepReport] = []
    source = fixed_lists(examples, settings, seed=7)
    policy = dico_update(
        reference, source, settings, seed=7, checkpoint=checkpoint, on_step=reports.append
    )
    return policy, reports


def same_weights(first: Captioner, second: Captioner) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_margin_starts_at_zero_and_grows(reference: Captioner, examples: list[Example]) -> None:
    _, reports = train(reference, examples)
    assert reports[0].margin == pytest.approx(0.0, abs=1e-4)
    assert reports[-1].margin > 1.0
    assert reports[-1].loss < reports[0].loss


def test_winners_become_likelier(reference: Captioner, examples: list[Example]) -> None:
    policy, _ = train(reference, examples)
    for example in examples:
        winner = int(example.rewards.argmax())
        scored = score_sequences(
            policy, example.encoder_hidden_states[None], [list(example.candidates.tokens[winner])]
        )
        assert float(scored.logps) > float(example.candidates.reference_logps[winner])


def test_one_seed_gives_one_result(reference: Captioner, examples: list[Example]) -> None:
    assert same_weights(train(reference, examples)[0], train(reference, examples)[0])


def test_an_interrupted_training_ends_as_if_it_had_not_been(
    reference: Captioner, examples: list[Example], tmp_path: Path
) -> None:
    whole, _ = train(reference, examples)
    checkpoint = tmp_path / "policy.pt"
    train(reference, examples, checkpoint, steps=10)
    resumed, reports = train(reference, examples, checkpoint)
    assert reports[0].step == 10
    assert same_weights(whole, resumed)


def test_reference_projection_and_encoder_stay(
    reference: Captioner, examples: list[Example]
) -> None:
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    policy, _ = train(reference, examples)
    assert all(torch.equal(before[name], t) for name, t in reference.state_dict().items())
    for name, tensor in policy.state_dict().items():
        frozen = name.startswith(("projection", "encoder_"))
        assert torch.equal(before[name], tensor) == frozen, name


def test_a_short_list_trains_like_its_own_two_captions(reference: Captioner) -> None:
    """Two candidates and three missing losers: the missing ones must not push anything."""
    torch.manual_seed(5)
    evaluator = Clip(ClipConfig(**SIZES, ffn=8, max_tokens=12)).eval()
    maker = CandidateMaker(reference, evaluator)
    features = torch.randn(1, 4, 6)
    candidates = maker.score(features, [(3, 4), (5, 6)], top_logp=0.0)
    example = Example(reference.encode(features)[0], candidates, torch.tensor([1.0, 0.0]))
    results = []
    for losers in (1, 3):
        settings = Hyperparameters(steps=5, batch=1, losers=losers)
        source = fixed_lists([example], settings, seed=1)
        reports: list[StepReport] = []
        dico_update(reference, source, settings, seed=1, on_step=reports.append)
        results.append([report.loss for report in reports])
    assert results[0] == pytest.approx(results[1], abs=1e-5)
