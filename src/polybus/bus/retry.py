"""How long to wait before trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["RetryPolicy", "backoff"]

# Not for secrets: it spreads retries in time.
_random = random.Random()  # noqa: S311


def backoff(initial: float, maximum: float, attempt: int) -> float:
    """Return the seconds to wait after the `attempt`-th failure (from 1).

    `initial`, doubling up to `maximum`, of which the upper half is random: the lower half keeps a floor under the wait,
    the upper spreads callers that failed together.
    """
    whole = min(maximum, initial * 2.0 ** min(attempt - 1, 60))
    return whole * _random.uniform(0.5, 1.0)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Waits between tries of one call, in seconds: from `initial`, doubling to `maximum`, with jitter."""

    initial: float = 0.1
    maximum: float = 10.0

    def wait(self, attempt: int, at_least: float | None = None) -> float:
        """Return the wait after the `attempt`-th failure; `at_least` is what the cloud asked for."""
        return max(backoff(self.initial, self.maximum, attempt), at_least or 0.0)
