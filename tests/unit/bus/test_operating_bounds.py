"""What operators do ends in time too, whatever the backend does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from bent import bend

import polybus
from polybus.binding import Entity
from polybus.driver import AdminDriver, Stats
from polybus.testing.proxy import AdminProxy, DriverProxy


class Hangs(AdminProxy):
    """Never says how many there are, and describes by a CancelledError of its own."""

    gave_back = False

    async def stats(self, entity: Entity) -> Stats:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            Hangs.gave_back = True
            raise
        raise AssertionError

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        raise asyncio.CancelledError

    async def ping(self) -> None:
        raise polybus.UnsupportedFeature("the test's backend has no ping")


class Driver(DriverProxy):
    def admin(self, inner: AdminDriver) -> AdminDriver:
        return Hangs(inner)


def hang() -> tuple[polybus.Bus, polybus.ManualClock]:
    clock = polybus.ManualClock()
    bus, driver = bend(clock, deadline=10.0)
    bus._connection.given = Driver(driver)
    return bus, clock


async def test_a_call_without_an_answer_ends_as_one_that_may_have_been_done() -> None:
    bus, clock = hang()
    async with bus:
        asking = asyncio.create_task(bus.stats("jobs"))
        await clock.advance(11)
        assert asking.done()
        with pytest.raises(polybus.BackendError, match="timeout: no answer within 10 s; it may have been done"):
            await asking


async def test_a_cancelled_call_gives_back_what_it_holds_before_it_ends() -> None:
    bus, clock = hang()
    Hangs.gave_back = False
    async with bus:
        asking = asyncio.create_task(bus.stats("jobs"))
        await clock.settle()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert Hangs.gave_back


async def test_a_driver_s_own_cancellation_is_its_failure() -> None:
    bus, _ = hang()
    async with bus:
        with pytest.raises(polybus.BackendError, match="a bug of this backend"):
            await bus.describe("jobs")


async def test_what_polybus_refuses_is_raised_as_it_is() -> None:
    bus, _ = hang()
    async with bus:
        with pytest.raises(polybus.UnsupportedFeature, match="has no ping"):
            await bus.ping()
