"""Durations, wherever the API takes one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

import polybus
from polybus import testing
from polybus.bus.retry import RetryPolicy
from polybus.durations import seconds
from polybus.errors import wait_of
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "shop"\n[queues.jobs]\nmax_delay = "15m"\n', source="polybus.toml")


@pytest.mark.parametrize(
    ("value", "expected"),
    [(90, 90), (1.5, 1.5), ("90s", 90), ("1h30m", 5400), ("500ms", 0.5), (timedelta(minutes=2), 120), ("7d", 604_800)],
)
def test_what_a_duration_can_be(value: Any, expected: float) -> None:
    assert seconds(value, "grace") == expected


@pytest.mark.parametrize("value", ["", "1 hour", "90", "-5s", float("nan")])
def test_texts_and_numbers_that_are_none(value: Any) -> None:
    with pytest.raises(ValueError, match=r"grace=.*: a number of seconds, a text such as '500ms', '30s' or '1h30m'"):
        seconds(value, "grace")


@pytest.mark.parametrize("value", [None, [], b"1h", 1j])
def test_what_is_no_duration_at_all(value: Any) -> None:
    with pytest.raises(TypeError, match=r"grace=.*: a number of seconds"):
        seconds(value, "grace")


HOUR = ("1h", timedelta(hours=1), 3600)


@pytest.mark.parametrize("hour", HOUR)
@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda hour: polybus.ConsumerOptions(max_lease=hour), "max_lease"),
        (lambda hour: polybus.ConsumerOptions(grace=hour), "grace"),
        (lambda hour: polybus.PublisherOptions(linger=hour), "linger"),
        (lambda hour: polybus.PublisherOptions(deadline=hour), "deadline"),
        (lambda hour: RetryPolicy(initial=hour), "initial"),
        (lambda hour: RetryPolicy(maximum=hour), "maximum"),
    ],
)
def test_options_keep_seconds(make: Callable[[Any], Any], read: str, hour: Any) -> None:
    made = make(hour)
    assert getattr(made, read) == 3600
    assert made == make(3600)


@pytest.mark.parametrize("after", ["90s", timedelta(seconds=90), 90])
def test_retry_after(after: Any) -> None:
    assert wait_of(polybus.Retry(after=after)) == 90

    class Later(polybus.Retry):
        def __init__(self) -> None:
            self.after = after

    assert wait_of(Later()) == 90
    with pytest.raises(ValueError, match="0 to 600 seconds"):
        polybus.Retry(after="11m")


async def test_a_handlers_durations_and_its_bus_in_words() -> None:
    app = polybus.App()
    seen: list[int] = []

    @app.handler("jobs", max_lease="1h", grace=timedelta(seconds=5))
    async def work(body: str, delivery: polybus.Delivery) -> None:
        seen.append(delivery.attempt)
        if delivery.attempt == 1:
            await delivery.nack(delay="2m")

    assert (app.handlers[0].options.max_lease, app.handlers[0].options.grace) == (3600, 5)
    async with testing.run(app, TOPOLOGY) as running:
        await running.bus.publish("jobs", "a", delay="10m")
        await running.idle()
        assert seen == []
        await running.advance("10m")
        assert seen == [1]
        await running.advance(timedelta(minutes=2))
        assert seen == [1, 2]
        async with running.bus.consume("jobs", max_lease="5m", grace="1s") as deliveries:
            await deliveries.drain("0s")
        await app.drain("1s")


def test_a_wrong_duration_names_the_handler_and_its_line() -> None:
    app = polybus.App()
    line = inspect.currentframe().f_lineno + 3  # type: ignore[union-attr]
    with pytest.raises(polybus.ConfigError, match=rf"work \(.*test_durations.py:{line}\): max_lease='an hour'"):

        @app.handler("jobs", max_lease="an hour")
        async def work(body: str) -> None: ...

    with pytest.raises(polybus.ConfigError, match=r"grace=None: a number of seconds"):

        @app.handler("jobs", grace=None)  # type: ignore[arg-type]
        async def other(body: str) -> None: ...
