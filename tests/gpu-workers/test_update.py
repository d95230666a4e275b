"""The update moves mass to winners, is repeatable, survives interruption, takes any objective."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from dico.candidates import Candidates
from dico.captioner import Captioner, CaptionerConfig
from dico.dpo import Dpo
from dico.objective import Objective, dico_loss
from dico.scoring import score_sequences
from dico.scst import BeamMeanScst, GreedyScst
from dico.sft import Sft
from dico.update import Example, Hyperparameters, StepReport, dico_update, fixed_lists
from dico.xe import Xe

SIZES = {"feature_width": 6, "feature_tokens": 4, "width": 8, "heads": 2, "vocab_size": 17}
SETTINGS = Hyperparameters(steps=25, batch=4, learning_rate=3e-3, losers=3)


@pytest.fixture(scope="module")
def reference() -> Captioner:
    torch.manual_seed(2)
    config = CaptionerConfig(**SIZES, encoder_ffn=8, decoder_ffn=8, max_tokens=9)
    captioner = Captioner(config).eval().requires_grad_(False)
    captioner.token_embedding.weight.mul_(20)
    return captioner


def example_of(
    reference: Captioner, tokens: list[tuple[int, ...]], rewards: torch.Tensor
) -> Example:
    """One image of noise with these candidates."""
    features = torch.randn(1, 4, 6)
    hidden = reference.encode(features)
    scored = score_sequences(reference, hidden, [list(ids) for ids in tokens])
    candidates = Candidates(tokens, scored.logps, rewards, scored.mean_states, top_logp=-5.0)
    return Example(hidden[0], candidates, rewards, features[0], baseline=0.5)


@pytest.fixture(scope="module")
def examples(reference: Captioner) -> list[Example]:
    torch.manual_seed(3)
    lengths = (1, 2, 3, 4, 5)
    return [
        example_of(
            reference,
            [tuple(torch.randint(3, 17, (n,)).tolist()) for n in lengths],
            torch.rand(len(lengths)),
        )
        for _ in range(10)
    ]


def train(
    reference: Captioner,
    examples: list[Example],
    settings: Hyperparameters = SETTINGS,
    checkpoint: Path | None = None,
    objective: Objective | None = None,
) -> tuple[Captioner, list[StepReport]]:
    reports: list[StepReport] = []
    policy = dico_update(
        reference,
        fixed_lists(examples, settings, seed=7),
        settings,
        seed=7,
        objective=objective,
        checkpoint=checkpoint,
        on_step=reports.append,
    )
    return policy, reports


def same_weights(first: Captioner, second: Captioner) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def weights_differ_by(first: Captioner, second: Captioner) -> float:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return max(float((a - b).abs().max()) for a, b in pairs)


def test_the_default_is_recipe_x_to_the_last_bit(
    reference: Captioner, examples: list[Example]
) -> None:
    """The recipe once more in its plainest form: one winner, random losers, loss plus anchor."""
    policy = copy.deepcopy(reference)
    trained = [
        parameter.requires_grad_()
        for name, parameter in policy.named_parameters()
        if not name.startswith(("projection", "encoder_"))
    ]
    optimiser = torch.optim.AdamW(trained, lr=3e-3, betas=(0.9, 0.99))
    source = fixed_lists(examples, SETTINGS, seed=7)
    losses = []
    for step in range(25):
        generator = torch.Generator().manual_seed(7 * 1_000_003 + step)
        batch, rows = source(policy, step), []
        for example in batch:
            winner = int(example.rewards.argmax())
            order = torch.randperm(5, generator=generator).tolist()
            rows.append([winner, *[index for index in order if index != winner][:3]])
        pairs = list(zip(batch, rows, strict=True))
        scored = score_sequences(
            policy,
            torch.stack([example.encoder_hidden_states for example in batch]),
            [list(e.candidates.tokens[index]) for e, row in pairs for index in row],
        )
        logps = scored.logps.view(4, 4)
        references = torch.stack([e.candidates.reference_logps[row] for e, row in pairs])
        rewards = torch.stack([e.rewards[row] for e, row in pairs])
        loss = dico_loss(logps, references, rewards, beta=1.0, tau=2.0).loss
        loss = loss - (logps[:, 0] / scored.lengths.view(4, 4)[:, 0]).mean()
        optimiser.param_groups[0]["lr"] = 3e-3 * min((step + 1) / 10, 1.0)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        losses.append(float(loss.detach()))
    updated, reports = train(reference, examples)
    assert [report.loss for report in reports] == losses
    assert same_weights(policy, updated)


def test_the_default_gives_the_numbers_it_always_gave(
    reference: Captioner, examples: list[Example]
) -> None:
    _, reports = train(reference, examples)
    losses = [reports[step].loss for step in (0, 10, 24)]
    assert losses == pytest.approx([3.778475046, 3.429304838, 2.546628475], abs=1e-4)


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
    train(reference, examples, replace(SETTINGS, steps=10), checkpoint)
    resumed, reports = train(reference, examples, checkpoint=checkpoint)
    assert reports[0].step == 10
    assert same_weights(whole, resumed)


OBJECTIVES: list[Objective | None] = [
    None, Dpo(0.2), Sft(), Xe(), BeamMeanScst(), GreedyScst()
]  # fmt: skip


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: type(o).__name__)
def test_eight_parts_of_one_image_are_one_batch_of_eight(
    reference: Captioner,
    examples: list[Example],
    objective: Objective | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Captions differ in length, so a token mean is not the mean of the parts' token means.

    Under plain gradient descent: Adam divides a gradient near 0 by itself, rounding included.
    """
    monkeypatch.setattr(torch.optim, "AdamW", lambda p, lr, betas: torch.optim.SGD(p, lr=0.1 * lr))
    settings = replace(SETTINGS, batch=8, steps=4)
    whole, reports = train(reference, examples, settings, objective=objective)
    parts, part_reports = train(
        reference, examples, replace(settings, accumulate=8), objective=objective
    )
    for one, other in zip(reports, part_reports, strict=True):
        assert vars(one) == pytest.approx(vars(other), abs=1e-5)
    assert weights_differ_by(whole, reference) > 1e-5
    assert weights_differ_by(whole, parts) < 1e-6


@pytest.mark.parametrize("train_encoder", [False, True])
def test_the_reference_stays_and_the_encoder_learns_only_if_asked(
    reference: Captioner, examples: list[Example], train_encoder: bool
) -> None:
    before = {name: tensor.clone() for name, tensor in reference.state_dict().items()}
    policy, _ = train(reference, examples, replace(SETTINGS, train_encoder=train_encoder))
    assert all(torch.equal(before[name], t) for name, t in reference.state_dict().items())
    for name, tensor in policy.state_dict().items():
        frozen = name.startswith(("projection", "encoder_")) and not train_encoder
        assert torch.equal(before[name], tensor) == frozen, name


def test_a_short_list_trains_like_its_own_two_captions(reference: Captioner) -> None:
    """Two candidates and three missing losers: the missing ones must not push anything."""
    torch.manual_seed(5)
    example = example_of(reference, [(3, 4), (5, 6)], torch.tensor([1.0, 0.0]))
    results = []
    for losers in (1, 3):
        settings = Hyperparameters(steps=5, batch=1, losers=losers)
        source = fixed_lists([example], settings, seed=1)
        reports: list[StepReport] = []
        dico_update(reference, source, settings, seed=1, on_step=reports.append)
        results.append([report.loss for report in reports])
        assert reports[0].distinct_candidates == 2
    assert results[0] == pytest.approx(results[1], abs=1e-5)
