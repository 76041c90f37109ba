"""Confirming what comes from Pub/Sub: nothing that goes wrong with one batch holds up what comes after it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from polybus.clock import SteppedClock
from polybus.clouds.gcp.driver import receipts
from polybus.clouds.gcp.driver.receipts import Receipts
from polybus.clouds.gcp.driver.stream import Lease
from polybus.errors import Fault, FaultKind

BOUND = 30.0


class Lab:
    """Receipts whose calls end as `answers` say, or well; what is confirmed and lost is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = SteppedClock()
        self.confirmed: list[str] = []
        self.lost: list[tuple[list[str], Fault | None]] = []
        self.asked: list[list[str]] = []
        self.answers: list[Any] = []
        self.told = asyncio.Event()
        self.called = asyncio.Event()
        self.stream: Any = SimpleNamespace(line=None, exactly_once=False)
        self.stream.out = set()
        monkeypatch.setattr(receipts, "modify_each", self._modify)
        clients: Any = None
        self.receipts = Receipts(
            clients, "s", seconds=60, clock=self.clock, on_confirmed=self._confirmed, on_lost=self._lost
        )

    def lease(self, ack_id: str) -> Lease:
        now = self.clock.monotonic()
        raw = SimpleNamespace(message=SimpleNamespace(publish_time=SimpleNamespace(seconds=0, nanos=0)))
        return Lease(ack_id, now + 60, self.stream, raw, now, now)

    async def _modify(
        self, clients: object, subscription: str, ack_ids: Sequence[str], seconds: int, line: object
    ) -> list[Fault | None]:
        self.asked.append(list(ack_ids))
        self.called.set()
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            await answer
            return [Fault(FaultKind.UNAVAILABLE, "again")] * len(ack_ids)
        return [None] * len(ack_ids)

    def _confirmed(self, leases: Sequence[Lease]) -> None:
        self.confirmed += [lease.ack_id for lease in leases]
        self.told.set()

    def _lost(self, leases: Sequence[Lease], why: Fault | None) -> None:
        self.lost.append(([lease.ack_id for lease in leases], why))
        self.told.set()


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(monkeypatch)


async def test_what_is_taken_before_its_call_begins_holds_up_nothing(lab: Lab) -> None:
    """As a stream is left in the turn in which it brought something, on a busy loop."""
    lab.receipts.add([lab.lease("a"), lab.lease("b")])
    assert [lease.ack_id for lease in lab.receipts.take()] == ["a", "b"]
    lab.receipts.add([lab.lease("c")])
    await asyncio.wait_for(lab.told.wait(), BOUND)
    assert (lab.confirmed, lab.lost, lab.asked) == (["c"], [], [["c"]])
    assert len(lab.receipts) == 0


async def test_what_is_taken_during_its_call_isn_t_asked_for_again(lab: Lab) -> None:
    """It was given back: another extension could hide it from who gets it next."""
    lab.answers.append(going := asyncio.get_running_loop().create_future())
    lab.receipts.add([lab.lease("a"), lab.lease("b")])
    await asyncio.wait_for(lab.called.wait(), BOUND)
    lab.receipts.take(lambda lease: lease.ack_id == "a")
    going.set_result(None)
    await asyncio.wait_for(lab.told.wait(), BOUND)
    assert (lab.confirmed, lab.asked) == (["b"], [["a", "b"], ["b"]])


async def test_a_call_that_ends_in_a_way_nobody_thought_of_loses_its_own_and_says_why(lab: Lab) -> None:
    lab.answers.append(IndexError("odd"))
    lab.receipts.add([lab.lease("a")])
    await asyncio.wait_for(lab.told.wait(), BOUND)
    [(lost, why)] = lab.lost
    assert lost == ["a"]
    assert why is not None
    assert "odd" in why.detail
    lab.told.clear()
    lab.receipts.add([lab.lease("b")])
    await asyncio.wait_for(lab.told.wait(), BOUND)
    assert lab.confirmed == ["b"]
