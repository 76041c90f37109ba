"""`polybus tail` and `polybus stats`: looking, and taking nothing from anybody."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from polybus.embedded.sqlite.driver import SqliteDriver
from polybus.feature import Feature


def test_tail_of_a_queue_leaves_it_as_it_was(cli: Callable, shop) -> None:
    ids = shop.publish("jobs", "a", {"n": 1})
    result = cli("tail", "jobs", "--json")
    assert [json.loads(line)["id"] for line in result.out.splitlines()] == ids
    assert shop.waiting("jobs") == 2
    assert '{"n":1}' in cli("tail", "jobs").out


def test_tail_stops_after_so_many(cli: Callable, shop) -> None:
    shop.publish("jobs", *(str(n) for n in range(150)))
    assert len(cli("tail", "jobs", "--json", "--limit", "120").out.splitlines()) == 120


def test_tail_of_a_topic_reads_its_tap(cli: Callable, shop) -> None:
    shop.publish("orders", "a")
    result = cli("tail", "orders", "--json", "--limit", "1")
    assert json.loads(result.out)["body"] == "a"
    assert "watch, the tap of orders" in result.err
    assert shop.waiting("watch") == 0


def test_tail_of_a_tap_ends_when_it_is_empty(cli: Callable, shop) -> None:
    shop.publish("orders", "a", "b")
    result = cli("tail", "watch", "--json", "--wait", "500ms")
    assert result.code == 0
    assert len(result.out.splitlines()) == 2


def test_tail_says_that_there_is_nothing(cli: Callable, shop) -> None:
    for source in ("jobs", "watch"):
        result = cli("tail", source, "--json", "--wait", "100ms")
        assert (result.code, result.out, result.err) == (0, "", f"nothing waits in {source}\n")


def test_tail_follows(shop, spawn: Callable) -> None:
    shop.publish("jobs", "first")
    process = spawn("tail", "jobs", "--follow", "--json", cwd=shop.folder)
    assert json.loads(process.stdout.readline())["body"] == "first"
    shop.publish("jobs", "second")
    assert json.loads(process.stdout.readline())["body"] == "second"
    assert shop.waiting("jobs") == 2


def test_tail_of_a_topic_without_a_tap_says_how_to_get_one(
    cli: Callable, shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = shop.topology.read_text().replace("tap = true", "")
    shop.topology.write_text(text)
    result = cli("tail", "orders")
    assert result.code == 1
    assert "topic 'orders' has no tap" in result.err
    assert "tap = true" in result.err
    assert "or tail a subscription of it: billing, watch" in result.err
    features = SqliteDriver.features
    monkeypatch.setattr(SqliteDriver, "features", lambda self, entity: features(self, entity) & ~Feature.PEEK)
    assert "or tail" not in cli("tail", "orders").err


def test_tail_never_takes_from_consumers_where_the_backend_cannot_peek(
    cli: Callable, shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.publish("jobs", "a")
    features = SqliteDriver.features
    monkeypatch.setattr(SqliteDriver, "features", lambda self, entity: features(self, entity) & ~Feature.PEEK)
    result = cli("tail", "jobs")
    assert result.code == 1
    assert "has no PEEK: at $.queues.jobs" in result.err
    assert shop.waiting("jobs") == 1


def test_stats_of_all_and_of_some(cli: Callable, shop) -> None:
    shop.publish("jobs", "a", "b")
    shop.bury("keyed", "c")
    found = cli("stats", "--json").json()
    assert list(found) == ["jobs", "keyed", "billing", "watch"]
    assert (found["jobs"]["waiting"], found["keyed"]["dead"]) == (2, 1)
    assert list(cli("stats", "keyed", "--json").json()) == ["keyed"]
    row = next(line.split() for line in cli("stats").out.splitlines() if "jobs" in line)
    assert row[:5] == ["jobs", "2", "0", "0", "0"]


def test_stats_watch_goes_on(shop, spawn: Callable) -> None:
    process = spawn("stats", "jobs", "--watch", "--every", "100ms", "--json", cwd=shop.folder)
    assert json.loads(process.stdout.readline())["jobs"]["waiting"] == 0
    shop.publish("jobs", "a")
    while json.loads(process.stdout.readline())["jobs"]["waiting"] != 1:
        pass


def test_stats_of_what_is_not_there(cli: Callable, shop) -> None:
    result = cli("stats", "job")
    assert (result.code, result.out) == (1, "")
    assert "did you mean 'jobs'?" in result.err


def test_a_binding_that_is_not_there_is_named_by_its_option(cli: Callable, shop) -> None:
    result = cli("stats", "--binding", "gone.json")
    assert result.code == 1
    assert "--binding" in result.err
    assert "gone.json" in result.err
    assert "connect" not in result.err
