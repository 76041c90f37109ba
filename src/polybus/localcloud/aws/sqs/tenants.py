"""Fair queues: whose messages a standard queue hands out first, where they have a MessageGroupId.

As the SQS Developer Guide has it ("How Amazon SQS fair queues work"): the messages of a group are a tenant's, one
without a group is a tenant of its own. Whoever has 30 in flight, and more than a tenth of all that is, is noisy, and so
is whoever had more than a tenth of the time that consumers took lately. What isn't of a noisy tenant comes first; of
several noisy ones, what is of the one with the fewest in flight. Nothing is dropped or slowed down.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

from polybus.localcloud.aws.sqs.message import IN_FLIGHT, Message

__all__ = ["Tenants"]

SHARE = 0.1
LEAST_IN_FLIGHT = 30
# Seconds without a message after which a tenant is quiet, whatever it has in flight.
SILENCE = 300.0
# Seconds in which the time that consumers took loses its weight (to 1/e). AWS says "recent", and not how recent.
RECENT = 60.0


class _Spent:
    """Seconds that consumers took, of which older ones weigh less."""

    __slots__ = ("_at", "_seconds")

    def __init__(self) -> None:
        self._seconds = 0.0
        self._at = 0.0

    def add(self, seconds: float, now: float) -> None:
        self._seconds, self._at = self.recent(now) + seconds, now

    def recent(self, now: float) -> float:
        return self._seconds * math.exp(-max(now - self._at, 0.0) / RECENT)


class _Tenant:
    __slots__ = ("aside", "in_flight", "messages", "sent", "spent")

    def __init__(self) -> None:
        self.messages = 0
        self.in_flight = 0
        self.sent = 0.0
        self.spent = _Spent()
        # What could be received and waits for quieter ones: a heap by order, as the queue's own.
        self.aside: list[tuple[int, Message]] = []


class Tenants:
    """The tenants of one queue that have messages there; `in_flight` tells how many of all are."""

    def __init__(self, in_flight: Callable[[], int]) -> None:
        self._in_flight = in_flight
        self._tenants: dict[str, _Tenant] = {}
        self._spent = _Spent()
        # Few: no ten can have more than a tenth each.
        self._with_aside: dict[str, _Tenant] = {}

    def sent(self, message: Message) -> None:
        """Note a message that is new here."""
        if message.group is not None:
            tenant = self._tenants.setdefault(message.group, _Tenant())
            tenant.messages += 1
            tenant.sent = max(tenant.sent, message.sent)
            tenant.in_flight += message.state == IN_FLIGHT

    def moved(self, message: Message, state: int, now: float) -> None:
        """Note that a message, which was in flight or will be, changes its state."""
        tenant = None if message.group is None else self._tenants[message.group]
        change = (state == IN_FLIGHT) - (message.state == IN_FLIGHT)
        if tenant is not None:
            tenant.in_flight += change
        if change < 0:
            took = max(now - (now if message.last_received is None else message.last_received), 0.0)
            self._spent.add(took, now)
            if tenant is not None:
                tenant.spent.add(took, now)

    def gone(self, message: Message) -> None:
        """Note that a message was deleted; a tenant without any is quiet when it comes again."""
        if message.group is not None:
            tenant = self._tenants[message.group]
            tenant.messages -= 1
            if not tenant.messages:
                del self._tenants[message.group]
                self._with_aside.pop(message.group, None)

    def keeps(self, order: int, message: Message, now: float) -> bool:
        """Set a message aside that has to wait for quieter ones; say whether it has to."""
        if message.group is None:
            return False
        tenant = self._tenants[message.group]
        if not self._is_noisy(tenant, now):
            return False
        heapq.heappush(tenant.aside, (order, message))
        self._with_aside[message.group] = tenant
        return True

    def quiet_again(self, before: float, now: float) -> tuple[int, Message] | None:
        """Return what was set aside of a tenant that is quiet now, if it is older than the order `before`."""
        quiet = [item for item in self._with_aside.items() if not self._is_noisy(item[1], now)]
        first = min(quiet, key=lambda item: item[1].aside[0][0], default=None)
        return None if first is None or first[1].aside[0][0] > before else self._pop(*first)

    def last(self, now: float) -> tuple[int, Message] | None:
        """Return what was set aside where nothing else is left, first of the tenant with the fewest in flight."""
        first = min(
            self._with_aside.items(),
            key=lambda item: (self._is_noisy(item[1], now), item[1].in_flight, item[1].aside[0][0]),
            default=None,
        )
        return None if first is None else self._pop(*first)

    def _pop(self, group: str, tenant: _Tenant) -> tuple[int, Message]:
        found = heapq.heappop(tenant.aside)
        if not tenant.aside:
            del self._with_aside[group]
        return found

    def _is_noisy(self, tenant: _Tenant, now: float) -> bool:
        if now - tenant.sent >= SILENCE:
            return False
        if tenant.in_flight >= LEAST_IN_FLIGHT and tenant.in_flight > SHARE * self._in_flight():
            return True
        return tenant.spent.recent(now) > SHARE * self._spent.recent(now)
