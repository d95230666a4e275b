"""The objectives that DiCO is compared with: worked by hand, and by finite differences."""

from __future__ import annotations

import pytest
import torch
from dico.captioner import CaptionerConfig, pad_captions, token_logps
from dico.dpo import Dpo, dpo_loss
from dico.objective import Dico, Scored, dico_loss
from dico.pretraining.captioner import cross_entropy
from dico.scst import BeamMeanScst, GreedyScst, beam_mean_loss, greedy_loss
from dico.sft import Sft
from dico.xe import Xe, xe_loss

POLICY = torch.tensor([[-9.0, -10.0, -11.0]], dtype=torch.float64)
REFERENCE = torch.tensor([[-9.5, -9.8, -11.0]], dtype=torch.float64)
REWARDS = torch.tensor([[0.2, 0.8, 0.5]], dtype=torch.float64)
LENGTHS = torch.tensor([[3.0, 5.0, 4.0]], dtype=torch.float64)


def scored(valid: list[list[bool]] | None = None) -> Scored:
    mask = torch.ones_like(POLICY, dtype=torch.bool) if valid is None else torch.tensor(valid)
    baseline = torch.tensor([0.4], dtype=torch.float64)
    return Scored(POLICY, REFERENCE, REWARDS, LENGTHS, mask, baseline)


def random_batch(images: int, candidates: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(11)
    return tuple(
        torch.randn(images, candidates, generator=generator, dtype=torch.float64) for _ in range(3)
    )


def test_two_candidates_under_dico_are_dpo() -> None:
    policy, reference, rewards = random_batch(9, 2)
    dico = dico_loss(policy, reference, rewards, beta=0.3, tau=50.0).loss
    dpo = dpo_loss(policy, reference, rewards, beta=0.3).loss
    assert float(dico) == pytest.approx(float(dpo), abs=1e-9)


def test_dico_with_a_sharp_tau_is_dpo_of_best_against_worst() -> None:
    policy, reference, rewards = random_batch(6, 5)
    dico = dico_loss(policy, reference, rewards, beta=0.3, tau=1e6).loss
    dpo = dpo_loss(policy, reference, rewards, beta=0.3).loss
    assert float(dico) == pytest.approx(float(dpo), abs=1e-6)


def test_dpo_of_best_against_worst_by_hand() -> None:
    """Ratios .5, -.2, 0; candidate 1 beats 0: margin -.7, -log sigmoid(.2 * -.7) = .765595182."""
    result = dpo_loss(POLICY, REFERENCE, REWARDS, beta=0.2)
    assert result.rejected.tolist() == [[True, False, False]]
    assert float(result.loss) == pytest.approx(0.765595182, abs=1e-9)


def test_of_equal_rewards_two_different_candidates_are_compared() -> None:
    result = dpo_loss(POLICY, REFERENCE, torch.ones(1, 3), beta=0.2)
    assert result.rejected.tolist() == [[False, False, True]]


def test_cross_entropy_by_hand_and_as_pre_training_counts_it() -> None:
    """30 nats over 12 tokens."""
    assert float(xe_loss(POLICY, LENGTHS)) == pytest.approx(2.5)
    config = CaptionerConfig(vocab_size=9)
    labels = pad_captions([[3, 4, 5], [6]], config)[1]
    logits = torch.randn(2, 4, 9, generator=torch.Generator().manual_seed(1))
    lengths = (labels != config.pad_id).sum(dim=1)
    ours = xe_loss(token_logps(logits, labels, config.pad_id).sum(dim=1), lengths)
    torch.testing.assert_close(ours, cross_entropy(logits, labels, config.pad_id))


def test_scst_with_the_mean_of_the_beams_by_hand() -> None:
    """B = .5; -(1/3) (-.3 * -9 + .3 * -10 + 0 * -11) = .1."""
    assert float(beam_mean_loss(POLICY, REWARDS)) == pytest.approx(0.1)


def test_scst_with_the_greedy_caption_by_hand() -> None:
    """B = .4; -(-.2 * -9 + .4 * -10 + .1 * -11) / 12 tokens = 3.3 / 12."""
    loss = greedy_loss(POLICY, REWARDS, torch.tensor([0.4]).double(), LENGTHS)
    assert float(loss) == pytest.approx(0.275)


def test_scst_pushes_up_only_what_beats_its_baseline() -> None:
    policy = POLICY.clone().requires_grad_()
    beam_mean_loss(policy, REWARDS).backward()
    expected = -(REWARDS - 0.5) / 3
    torch.testing.assert_close(policy.grad, expected)


@pytest.mark.parametrize("name", ["beam mean", "greedy", "dpo", "xe"])
def test_gradients_agree_with_finite_differences(name: str) -> None:
    policy, reference, rewards = random_batch(3, 4)
    lengths = torch.arange(1.0, 13.0, dtype=torch.float64).view(3, 4)
    losses = {
        "beam mean": lambda logps: beam_mean_loss(logps, rewards),
        "greedy": lambda logps: greedy_loss(logps, rewards, rewards[:, 0], lengths),
        "dpo": lambda logps: dpo_loss(logps, reference, rewards, beta=0.7).loss,
        "xe": lambda logps: xe_loss(logps, lengths),
    }
    assert torch.autograd.gradcheck(losses[name], (policy.requires_grad_(),))


@pytest.mark.parametrize(
    "objective", [Xe(), Sft(), Dpo(0.2), Dico(0.2, 3.0, 1.0), BeamMeanScst(), GreedyScst()]
)
def test_a_candidate_that_does_not_exist_counts_nowhere(objective: object) -> None:
    assert callable(objective)
    two = Scored(
        POLICY[:, :2], REFERENCE[:, :2], REWARDS[:, :2], LENGTHS[:, :2],
        torch.tensor([[True, True]]), scored().baseline,
    )  # fmt: skip
    whole = objective(scored([[True, True, False]]))
    assert float(whole.loss) == pytest.approx(float(objective(two).loss), abs=1e-12)
    torch.testing.assert_close(whole.gamma[:, :2], objective(two).gamma)
    assert float(whole.gamma[0, 2]) == 0.0


def test_the_greedy_baseline_has_to_be_there() -> None:
    batch = scored()
    with pytest.raises(ValueError, match="greedy"):
        GreedyScst()(Scored(batch.logps, batch.logps, batch.rewards, batch.lengths, batch.valid))


def test_supervised_fine_tuning_sees_the_winner_only() -> None:
    """The second candidate wins: 10 nats over 5 tokens."""
    assert float(Sft()(scored()).loss) == pytest.approx(2.0)
