"""How many cases each fuzz test runs: 2,000 with the suite, POLYBUS_FUZZ_CASES with `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

SUITE = 2_000
CASES = int(os.environ.get("POLYBUS_FUZZ_CASES", SUITE))
# What the suite runs of those that go over a socket and take it 10 to 30 ms each (connections, TLS): a quarter of
# their cases keeps it under two minutes in one process. `make fuzz` runs all of them.
OVER_A_SOCKET = 1 / 4


def cases(part: float = 1.0, *, in_suite: float = 1.0, **more: Any) -> settings:
    """Return settings for `part` of the cases, where several tests share one kind's, and for less in the suite."""
    count = CASES * part * (in_suite if CASES <= SUITE else 1.0)
    return settings(
        max_examples=max(10, int(count)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
