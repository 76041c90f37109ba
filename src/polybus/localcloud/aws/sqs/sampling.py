"""Standard queues as SQS runs them: on many servers, of which a receive asks a few."""

from __future__ import annotations

import random

from polybus.localcloud.aws.sqs.message import Message

__all__ = ["Sampler"]

# One receive in so many finds nothing though there is something, and one in so many brings less than it could: often
# enough that whatever relies on full answers fails within a few dozen receives.
EMPTY = 8
SHORT = 2


class Sampler:
    """Hands out what waits in any order, and not always as much as was asked for; repeatable by its seed.

    SQS promises no order on standard queues, and no receive all that it could have (SQS Developer Guide, "Amazon SQS
    short and long polling" and "Standard queues").
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing is kept secret by it

    def sample(self, ready: list[tuple[int, Message]], limit: int) -> int:
        """Put what waits into another order; return how many of it to hand out, up to `limit`."""
        self._random.shuffle(ready)
        if not self._random.randrange(EMPTY):
            return 0
        return self._random.randint(1, limit) if not self._random.randrange(SHORT) else limit
