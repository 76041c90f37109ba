"""How many cases each fuzz test runs: 2,000 with the suite, POLYBUS_FUZZ_CASES with `make fuzz`."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

CASES = int(os.environ.get("POLYBUS_FUZZ_CASES", "2000"))


def cases(part: float = 1.0, **more: Any) -> settings:
    """Return settings for `part` of the cases; those that talk to a server over a socket take a part of them."""
    return settings(
        max_examples=max(10, int(CASES * part)),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )
