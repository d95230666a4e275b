"""How far a policy has moved from its reference, from log-probabilities of captions."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Estimate(NamedTuple):
    """A mean in nats a caption, and its standard error; NaN where one caption leaves it open."""

    mean: float
    standard_error: float


def sampled_kl(policy_logps: Tensor, reference_logps: Tensor) -> Estimate:
    """KL(policy || reference), estimated without bias from the policy's own samples.

    Args:
        policy_logps: Summed log-probabilities of captions drawn from the policy at temperature 1,
            under the policy, [N], N >= 1.
        reference_logps: Of the same captions under the reference, [N].

    Returns:
        The mean of log f - log f*, >= 0 but for the error of sampling.
    """
    return _mean(policy_logps - reference_logps)


def log_ratio(new_logps: Tensor, base_logps: Tensor) -> Estimate:
    """How much less likely the reference finds the new captions than its own.

    Args:
        new_logps: Log-probabilities of the policy's captions under the reference, [N], N >= 1.
        base_logps: Of the reference's own captions of the same images, [N].

    Returns:
        The mean of log f*(new) - log f*(base), at most 0 where the search finds the best.
    """
    return _mean(new_logps - base_logps)


def _mean(values: Tensor) -> Estimate:
    values = values.double()
    if len(values) < 2:
        return Estimate(float(values.mean()), math.nan)
    return Estimate(float(values.mean()), float(values.std()) / math.sqrt(len(values)))
