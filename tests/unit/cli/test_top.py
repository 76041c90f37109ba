"""`polybus top`: every entry of a binding, whatever becomes of one of them."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.clouds import CLOUDS

import polybus
from polybus.cli.readings import Entry, Row, Watch, entries_of
from polybus.driver import Stats
from polybus.errors import BackendError, Fault, FaultKind
from polybus.localcloud.server import ThreadedServer
from polybus.plan.planning import local_of
from polybus.topology.file import load

from .conftest import TOPOLOGY


class Told:
    """Answers with the next of some counts; an exception is raised, and None isn't answered."""

    def __init__(self, *answers: Stats | Exception | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self) -> Stats:
        self.asked += 1
        answer = self.answers.pop(0)
        if answer is None:
            await asyncio.Event().wait()
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def by_name(rows: list[Row]) -> dict[tuple[str, str], Row]:
    return {(row.kind, row.name): row for row in rows}


def denied(text: str = "may not look") -> BackendError:
    return BackendError(Fault(FaultKind.DENIED, text))


async def test_a_topic_is_the_sum_of_its_subscriptions() -> None:
    entries = [
        Entry(Row("subscription", "a", "t"), Told(Stats(1, 2, 3, 4, 5.0))),
        Entry(Row("subscription", "b", "t"), Told(Stats(10, 20, 30, 40, 50.0))),
        Entry(Row("dead letters", "b", "t"), Told(Stats(40))),
        Entry(Row("queue", "q"), Told(Stats(7))),
    ]
    rows = await Watch(["t", "empty"], entries, Time()).round(None)
    assert [(row.kind, row.name) for row in rows] == [
        ("topic", "t"), ("subscription", "a"), ("subscription", "b"), ("dead letters", "b"), ("topic", "empty"),
        ("queue", "q"),
    ]  # fmt: skip
    assert rows[0] == Row("topic", "t", None, 11, 22, 33, 50.0, 44)


async def test_what_one_does_not_tell_the_topic_does_not() -> None:
    entries = [
        Entry(Row("subscription", "a", "t"), Told(Stats(1, None))),
        Entry(Row("subscription", "b", "t"), Told(Stats(2, 3))),
    ]
    (topic, *_) = await Watch(["t"], entries, Time()).round(None)
    assert (topic.waiting, topic.leased) == (3, None)


async def test_rates_are_over_the_last_readings() -> None:
    time = Time()
    counts = [0, 10, 20, 30, 40, 100]
    watch = Watch([], [Entry(Row("queue", "q"), Told(*(Stats(count) for count in counts)))], time)
    rates = []
    for _ in counts:
        [row] = await watch.round(None)
        rates.append(row.rate)
        time.now += 2
    assert rates == [None, 5.0, 5.0, 5.0, 5.0, (100 - 10) / 8]


async def test_an_error_hides_none_of_the_others_and_is_forgotten_once_it_works() -> None:
    entries = [
        Entry(Row("queue", "bad"), Told(Stats(1), denied("may not look\nat all"), Stats(3))),
        Entry(Row("queue", "good"), Told(Stats(4), Stats(5), Stats(6))),
    ]
    time = Time()
    watch = Watch([], entries, time)
    seen = []
    for _ in range(3):
        rows = by_name(await watch.round(None))
        seen.append((rows["queue", "bad"].waiting, rows["queue", "bad"].error, rows["queue", "good"].waiting))
        time.now += 1
    assert [(waiting, good) for waiting, _, good in seen] == [(1, 4), (None, 5), (3, 6)]
    assert "may not look" in str(seen[1][1])
    assert seen[2][1] is None
    assert rows["queue", "bad"].rate is None


async def test_one_that_does_not_answer_holds_up_nobody_and_is_not_asked_again() -> None:
    slow, quick = Told(Stats(1), None), Told(Stats(1), Stats(2), Stats(3))
    watch = Watch([], [Entry(Row("queue", "slow"), slow), Entry(Row("queue", "quick"), quick)], Time())
    await watch.round(None)
    for count in (2, 3):
        rows = by_name(await watch.round(0.0 if count == 2 else 0.01))
    assert rows["queue", "slow"] == Row("queue", "slow", waiting=1, late=True, dead=None)
    assert slow.asked == 2
    watch.close()


async def test_a_bug_is_no_row() -> None:
    with pytest.raises(ZeroDivisionError):
        await Watch([], [Entry(Row("queue", "q"), Told(ZeroDivisionError()))], Time()).round(None)


# The command ---------------------------------------------------------------------------------------------------------


def test_once_shows_every_entry(cli: Callable, shop) -> None:
    shop.publish("jobs", "a", "b")
    found = cli("top", "--once", "--json")
    assert (found.code, found.err) == (0, "")
    told = found.json()
    assert (told["format"], told["backend"], told["bus"]) == (1, "sqlite", "shop")
    rows = {(row["kind"], row["name"]): row for row in told["entries"]}
    assert list(rows) == [
        ("topic", "orders"), ("subscription", "billing"), ("dead letters", "billing"), ("subscription", "watch"),
        ("dead letters", "watch"), ("queue", "jobs"), ("dead letters", "jobs"), ("queue", "keyed"),
        ("dead letters", "keyed"),
    ]  # fmt: skip
    assert rows["queue", "jobs"]["waiting"] == 2
    assert rows["dead letters", "jobs"]["waiting"] == 0
    table = cli("top", "--once").out
    assert "shop on sqlite" in table
    assert "dead letters" in table


def test_names_choose_and_a_topic_brings_its_subscriptions(cli: Callable, shop) -> None:
    def names(*given: str) -> list[tuple[str, str]]:
        entries = cli("top", "--once", "--json", *given).json()["entries"]
        return [(row["kind"], row["name"]) for row in entries if row["kind"] != "dead letters"]

    assert names("jobs") == [("queue", "jobs")]
    assert names("orders") == [("topic", "orders"), ("subscription", "billing"), ("subscription", "watch")]
    assert names("watch") == [("topic", "orders"), ("subscription", "watch")]
    assert "there are: " in cli("top", "--once", "nothing").err


def test_an_entry_that_fails_is_told_beside_the_others_and_in_the_exit_code(
    cli: Callable, shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = polybus.Bus.stats

    async def stats(bus: polybus.Bus, name: str) -> Stats:
        if name == "billing":
            raise denied()
        return await whole(bus, name)

    monkeypatch.setattr(polybus.Bus, "stats", stats)
    shop.publish("jobs", "a")
    found = cli("top", "--once", "--json")
    assert found.code == 1
    rows = {(row["kind"], row["name"]): row for row in found.json()["entries"]}
    assert "may not look" in rows["subscription", "billing"]["error"]
    assert rows["queue", "jobs"]["waiting"] == 1
    assert rows["topic", "orders"]["waiting"] is None
    shown = cli("top", "--once")
    assert shown.code == 1
    assert "polybus: subscription billing: " in shown.err


def test_it_goes_on_until_it_is_interrupted(shop, spawn: Callable) -> None:
    process = spawn("top", "jobs", "--json", "--interval", "100ms", cwd=shop.folder)
    row = {"waiting": None, "late": True}
    while row["late"]:  # a store that takes longer than the interval to open
        assert row["waiting"] is None
        row = json.loads(process.stdout.readline())["entries"][0]
    assert row["waiting"] == 0
    shop.publish("jobs", "a")
    while json.loads(process.stdout.readline())["entries"][0]["waiting"] != 1:
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err


def test_an_interval_that_would_only_ask_is_refused(cli: Callable, shop) -> None:
    assert "at least 100ms" in cli("top", "--interval", "10ms").err


# Backends ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def local(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A local cloud with the shop's topology, and the binding that leads to it."""
    cloud = request.param
    text = TOPOLOGY if cloud != "gcp" else TOPOLOGY.replace('max_delay = "15m"\n', "")
    (tmp_path / "polybus.toml").write_text(text)
    own = local_of(cloud)
    server = own.server("127.0.0.1", 0, None)
    running = ThreadedServer(server)
    running.start()
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    binding = own.realise(own.plan(load(tmp_path / "polybus.toml")), server)
    (tmp_path / "binding.json").write_text(binding.to_json())
    monkeypatch.chdir(tmp_path)
    yield cloud
    running.stop()


@pytest.mark.parametrize("local", CLOUDS, indirect=True)
def test_every_cloud_is_looked_at(cli: Callable, local: str) -> None:
    assert cli("publish", "jobs", "a", "--binding", "binding.json").code == 0
    found = cli("top", "--once", "--json", "--binding", "binding.json")
    assert found.code == 0, found.err
    rows = {(row["kind"], row["name"]): row for row in found.json()["entries"]}
    assert len(rows) == 9
    assert not [row for row in rows.values() if row["error"]]
    # Google's counts are in Cloud Monitoring alone.
    assert rows["queue", "jobs"]["waiting"] == (None if local == "gcp" else 1)
    assert rows["dead letters", "jobs"]["waiting"] == (None if local == "gcp" else 0)


async def test_memory_is_looked_at_and_what_is_pushed_has_dead_letters_alone_where_it_has_no_place() -> None:
    binding = polybus.Binding(
        backend="memory",
        bus="shop",
        topics={"orders": polybus.Entity(kind=polybus.binding.Kind.TOPIC, name="orders", address="t")},
        subscriptions={
            name: polybus.Entity(
                kind=polybus.binding.Kind.SUBSCRIPTION,
                name=name,
                address=address,
                topic="orders",
                dead_letter=f"{name}-dead",
                push=name == "mail",
            )
            for name, address in (("billing", "s"), ("mail", "mail-dead"))
        },
    )
    async with polybus.connect(binding) as bus:
        await bus.publish("orders", "a")
        rows = by_name(await Watch(["orders"], entries_of(bus, lambda name: True), Time()).round(None))
    assert rows["subscription", "billing"].waiting == 1
    assert rows["subscription", "mail"] == Row("subscription", "mail", "orders")
    assert ("dead letters", "mail") in rows
