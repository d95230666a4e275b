"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Waits that double up to a cap, each cut by chance so that callers do not march in step."""

    first_seconds: float = 0.5
    cap_seconds: float = 30.0

    def seconds(self, attempt: int) -> float:
        """The wait after the given failed attempt; attempts count from 1."""
        longest = min(self.cap_seconds, self.first_seconds * 2.0 ** min(attempt - 1, 32))
        return random.uniform(longest / 2, longest)
