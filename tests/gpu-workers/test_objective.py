"""The objective against numbers worked by hand and against its own algebra."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from dico.objective import dico_loss

POLICY = [-9.0, -10.0, -11.0, -12.0, -13.0]
REFERENCE = [-9.5, -9.8, -11.0, -11.5, -12.0]
T1_REWARDS = [0.80, 0.84, 0.83, 0.82, 0.85]
T1_GAMMA = [0.9973985, 6.128228e-6, 1.230888e-4, 2.472304e-3, 0.0]


def row(values: list[float]) -> torch.Tensor:
    return torch.tensor([values], dtype=torch.float64)


@pytest.mark.parametrize(
    ("policy", "reference", "rewards", "winner", "gamma", "margin", "loss"),
    [
        (POLICY, REFERENCE, T1_REWARDS, 4, T1_GAMMA, -1.497461862, 0.854063673),
        (
            POLICY, REFERENCE, [0.850, 0.849, 0.848, 0.847, 0.846], 0,
            [0.0, 0.150794, 0.203550, 0.274764, 0.370892], 1.038433092, 0.594685925,
        ),
        (POLICY, POLICY, T1_REWARDS, 4, T1_GAMMA, 0.0, 0.693147181),
        ([-9.0, -10.0], [-9.5, -9.8], [0.80, 0.84], 1, [1.0, 0.0], -0.7, 0.765595182),
    ],
    ids=["T1", "T2", "T3", "T4"],
)  # fmt: skip
def test_vectors_worked_by_hand(
    policy: list[float],
    reference: list[float],
    rewards: list[float],
    winner: int,
    gamma: list[float],
    margin: float,
    loss: float,
) -> None:
    result = dico_loss(row(policy), row(reference), row(rewards), beta=0.2, tau=300.0)
    assert int(result.is_winner[0].nonzero()) == winner
    torch.testing.assert_close(result.gamma, row(gamma), rtol=1e-5, atol=1e-6)
    assert float(result.margin) == pytest.approx(margin, abs=1e-8)
    assert float(result.loss) == pytest.approx(loss, abs=1e-8)


def test_gradient_of_the_first_vector() -> None:
    policy = row(POLICY).requires_grad_()
    reference = row(REFERENCE).requires_grad_()
    dico_loss(policy, reference, row(T1_REWARDS), beta=0.2, tau=300.0).loss.backward()
    expected = row([0.1145649, 7.039e-7, 1.4138e-5, 2.8398e-4, -0.114863684])
    torch.testing.assert_close(policy.grad, expected, rtol=1e-4, atol=1e-9)
    assert reference.grad is None


def test_an_unmoved_policy_costs_log_two() -> None:
    """Margin = 0 for each image, and -log(sigmoid(0)) = log 2."""
    logps, rewards = torch.randn(7, 5).double(), torch.rand(7, 5).double()
    result = dico_loss(logps, logps, rewards, beta=1.0, tau=3.0)
    assert float(result.loss) == pytest.approx(0.6931471805599453)


def test_two_candidates_are_dpo() -> None:
    policy, reference, rewards = (torch.randn(9, 2).double() for _ in range(3))
    best = rewards.argmax(dim=1, keepdim=True)
    ratio = policy - reference
    dpo = -F.logsigmoid(0.3 * (ratio.gather(1, best) - ratio.gather(1, 1 - best))).mean()
    loss = dico_loss(policy, reference, rewards, beta=0.3, tau=50.0).loss
    torch.testing.assert_close(loss, dpo)


def test_permuting_the_candidates_changes_nothing() -> None:
    policy, reference, rewards = (torch.randn(4, 6).double() for _ in range(3))
    order = torch.randperm(6)
    first = dico_loss(policy, reference, rewards, beta=0.2, tau=2.0)
    second = dico_loss(policy[:, order], reference[:, order], rewards[:, order], beta=0.2, tau=2.0)
    torch.testing.assert_close(first.loss, second.loss)
    torch.testing.assert_close(first.gamma[:, order], second.gamma)


def test_a_candidate_that_does_not_exist_counts_nowhere() -> None:
    policy, reference, rewards = (torch.randn(3, 4).double() for _ in range(3))
    padded = [F.pad(x, (0, 2), value=99.0) for x in (policy, reference, rewards)]
    valid = torch.tensor([[True] * 4 + [False] * 2] * 3)
    first = dico_loss(policy, reference, rewards, beta=0.2, tau=2.0)
    second = dico_loss(padded[0], padded[1], padded[2], beta=0.2, tau=2.0, valid=valid)
    torch.testing.assert_close(first.loss, second.loss)


def test_gradient_agrees_with_finite_differences() -> None:
    policy = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    reference, rewards = torch.randn(3, 4).double(), torch.randn(3, 4).double()
    assert torch.autograd.gradcheck(
        lambda logps: dico_loss(logps, reference, rewards, beta=0.7, tau=2.0).loss, (policy,)
    )


@pytest.mark.parametrize("shapes", [((2, 3), (2, 4), (2, 3)), ((2, 1), (2, 1), (2, 1))])
def test_impossible_shapes_are_refused(shapes: tuple[tuple[int, int], ...]) -> None:
    policy, reference, rewards = (torch.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match="expected"):
        dico_loss(policy, reference, rewards, beta=0.2, tau=300.0)
