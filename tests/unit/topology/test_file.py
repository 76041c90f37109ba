"""`polybus.toml`: what it gives, and that every error says file, place, found and allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polybus.errors import TopologyError
from polybus.topology import file
from polybus.topology.file import load, loads
from polybus.topology.model import (
    Alarms,
    Backoff,
    Notify,
    Push,
    Queue,
    Service,
    Subscription,
    Topic,
    Topology,
    digest,
)
from polybus.topology.quantities import format_duration, format_size, parse_duration, parse_size
from polybus.topology.references import check_references
from polybus.topology.table import Problems

SHOP = """
[bus]
name = "shop"

[topics.orders]
ordered = true
max_message_size = "1MiB"
[topics.orders.aws]
signature_version = 2

[topics.training]

[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk") and not exists(test)'
lease = "1h30m"
max_attempts = 7
retention = "3d"
dead_letter_retention = "4d"
backoff = { initial = "500ms", maximum = "1m" }
ordered = false

[subscriptions.ops-mail]
topic = "training"
push = { email = "ops@example.com" }

[subscriptions.watch]
topic = "orders"
tap = true

[queues.thumbnails]
lease = "30s"
max_delay = "15m"

[services.checkout]
publishes = ["orders", "thumbnails"]
[services.billing]
consumes = ["billing", "thumbnails"]
operates = ["billing"]

[alarms]
dead_letters = 3
notify = { email = "ops@example.com" }
"""


def problems_of(text: str) -> tuple[str, ...]:
    with pytest.raises(TopologyError) as caught:
        loads(text, source="polybus.toml")
    return caught.value.problems


def test_a_file_becomes_values_with_seconds_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "polybus.toml"
    path.write_text(SHOP)
    topology = load(path)
    assert topology.name == "shop"
    assert topology.source == str(path)
    orders = topology.topics["orders"]
    assert (orders.ordered, orders.max_message_size, orders.max_delay) == (True, 1_048_576, 0.0)
    assert orders.options["aws"]["signature_version"] == 2
    billing = topology.subscriptions["billing"]
    assert (billing.lease, billing.max_attempts, billing.retention) == (5_400.0, 7, 259_200.0)
    assert billing.backoff == Backoff(0.5, 60.0)
    assert billing.filter is not None
    assert billing.filter.matches({"region": "uk"})
    mail = topology.subscriptions["ops-mail"].push
    assert mail == Push(email="ops@example.com")
    assert (mail.kind, mail.endpoint) == ("email", "ops@example.com")
    assert topology.subscriptions["watch"].tap
    assert topology.queues["thumbnails"].max_delay == 900.0
    assert topology.services["billing"].consumes == ("billing", "thumbnails")
    assert topology.alarms == Alarms(dead_letters=3, notify=Notify(email="ops@example.com"))


def test_what_is_not_said_has_the_same_default_on_every_cloud() -> None:
    topology = loads('[bus]\nname = "a"\n[topics.t]\n[subscriptions.s]\ntopic = "t"\n', source="x")
    assert topology.subscriptions["s"] == Subscription("s", "t")
    subscription = topology.subscriptions["s"]
    assert (subscription.lease, subscription.max_attempts) == (60.0, 5)
    assert (subscription.retention, subscription.dead_letter_retention) == (604_800.0, 1_209_600.0)
    assert subscription.backoff == Backoff(1.0, 600.0)
    assert topology.alarms is None


def test_a_topology_answers_what_belongs_to_what() -> None:
    topology = loads(SHOP, source="x")
    assert [item.name for item in topology.subscriptions_of("orders")] == ["billing", "watch"]
    assert topology.is_ordered("orders")
    assert not topology.is_ordered("billing")
    assert topology.is_ordered("watch")
    assert not topology.is_ordered("thumbnails")
    assert topology.filter_attributes("orders") == {"region", "test"}


def test_a_topology_cannot_be_changed() -> None:
    topology = loads(SHOP, source="x")
    with pytest.raises(TypeError):
        topology.topics["new"] = topology.topics["orders"]  # type: ignore[index]
    with pytest.raises(AttributeError):
        topology.topics["orders"].ordered = False  # type: ignore[misc]


BASE = '[bus]\nname = "b"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            BASE + 'lease = "60 parsecs"',
            'polybus.toml: at $.subscriptions.billing.lease: found "60 parsecs"; allowed: a duration such as '
            '"500ms", "30s", "5m", "1h30m", "7d", from 1s to 12h',
        ),
        (BASE + 'lease = "13h"', 'found "13h"'),
        (BASE + "lease = 60", "at $.subscriptions.billing.lease: found 60; allowed: a duration"),
        (BASE + 'leese = "60s"', "at $.subscriptions.billing.leese: found unknown key leese (nearest: lease)"),
        (BASE + "max_attempts = 0", "found 0; allowed: a whole number from 1 to 1000"),
        (BASE + "max_attempts = true", "found true; allowed: a whole number"),
        (BASE + "max_attempts = 2.5", "found 2.5"),
        (BASE + 'tap = "yes"', 'at $.subscriptions.billing.tap: found "yes"; allowed: true or false'),
        (BASE + 'ordered = "no"', '$.subscriptions.billing.ordered: found "no"'),
        (BASE + "ordered = true", "allowed: false, or ordered = true at $.topics.orders"),
        (BASE + """filter = 'a = "x"'""", "(at character 3, unexpected '=': equality is written ==)"),
        (BASE + "filter = ''", 'at $.subscriptions.billing.filter: found ""'),
        (BASE + 'push = { email = "ops" }', '$.subscriptions.billing.push.email: found "ops"; allowed: an e-mail'),
        (BASE + 'push = { https = "http://x.y" }', 'begins with "https://"'),
        (BASE + 'push = { https = "https://me:pw@x.y/z" }', "push.https: found a URL with a name or password in it"),
        (BASE + 'push = { https = "https://token@x.y" }', "push.https: found a URL with a name or password in it"),
        (BASE + 'push = { function = "https://me:pw@x.y" }', "found a URL with a name or password in it"),
        (BASE + 'push = { sms = "12" }', "a telephone number"),
        (BASE + "push = {}", "found none of them; allowed: exactly one of email, sms, https, function, forward"),
        (BASE + 'push = { email = "a@b.c", function = "f" }', "found email and function; allowed: exactly one"),
        (BASE + 'push = { mail = "a@b.c" }', "unknown key mail (nearest: email)"),
        (BASE + 'push = { email = "a@b.c" }\ntap = true', "found true beside push"),
        (BASE + 'push = { forward = "x" }', '"x", which is no topic or queue'),
        (BASE + 'push = { forward = "orders" }', "which leads back to the topic orders; allowed: a way without a"),
        (BASE + 'backoff = { initial = "1m", maximum = "1s" }', 'at least as long as "initial"'),
        (BASE + 'backoff = { maximum = "11m" }', "from 0s to 10m"),
        (BASE + "aws = 3", "at $.subscriptions.billing.aws: found 3; allowed: a table"),
        (BASE + "[topic.x]", "at $.topic: found unknown key topic (nearest: topics)"),
        (BASE + "[topics.a.amazon]", "at $.topics.a.amazon: found unknown key amazon"),
        (BASE + '[topics."a b"]', 'at $.topics."a b": found the name "a b"; allowed: 1 to 60 of'),
        (BASE + "[topics.x-dead-letters]", "not ending in -dead-letters"),
        (BASE + "[queues.Orders]", "a name other than that of $.topics.orders, as publishers name either"),
        (BASE + "[queues.billing]", "a name other than that of $.subscriptions.billing, as consumers name either"),
        (BASE + '[subscriptions.b]\ntopic = "order"', 'found "order", which is no topic (nearest: orders)'),
        (BASE + "[subscriptions.b]", "at $.subscriptions.b.topic: found nothing; allowed: the name of a topic"),
        (BASE + '[services.s]\npublishes = ["oders"]', "which is no topic or queue (nearest: orders)"),
        (BASE + '[services.s]\nconsumes = ["orders"]', "which is no subscription or queue"),
        (BASE + '[services.s]\noperates = ["biling"]', "(nearest: billing)"),
        (BASE + '[services.s]\nconsumes = "billing"', 'found "billing"; allowed: a list of names'),
        (
            BASE + 'push = { email = "a@b.c" }\n[services.s]\nconsumes = ["billing"]',
            'found the push subscription "billing"',
        ),
        (BASE + "[alarms]\nbacklog = 0", "at $.alarms.backlog: found 0"),
        (BASE + "alarms = true\n[alarms]", "at $.subscriptions.billing.alarms: found true; allowed: false, or a table"),
        (
            BASE + "alarms = { backlog = 7 }",
            "at $.subscriptions.billing.alarms: found thresholds, and no [alarms]; allowed: them beside [alarms]",
        ),
        (
            BASE + "[queues.jobs]\nalarms = { failed_pushes = 7 }\n[alarms]",
            "at $.queues.jobs.alarms.failed_pushes: found unknown key failed_pushes",
        ),
        (
            BASE + "[topics.t]\nalarms = { oldest_age = 7 }\n[alarms]",
            "at $.topics.t.alarms.oldest_age: found 7; allowed: a duration",
        ),
        (BASE + "alarms = { backlog = true }\n[alarms]", "at $.subscriptions.billing.alarms.backlog: found true"),
        (
            BASE + "[alarms]\nnotify = { mail = 'x' }",
            "at $.alarms.notify.mail: found unknown key mail (nearest: email)",
        ),
        (BASE + '[topics.t]\nmax_message_size = "1 parsec"', 'allowed: a size such as "900B"'),
        (BASE + '[topics.t]\nmax_message_size = "10B"', "from 1KiB to 100MiB"),
        (BASE + "[topics.orders]", "not valid TOML: Cannot declare"),
        ('topics = 3\n[bus]\nname = "b"', "at $.topics: found 3; allowed: a table"),
        ('[bus]\nname = "b"\n[topics]\nt = 1', "at $.topics.t: found 1; allowed: a table"),
        ("[bus]\nname = 3", "at $.bus.name: found 3"),
        ('[bus]\nname = "1"', 'at $.bus.name: found "1"'),
        ("", "at $.bus.name: found nothing"),
        (
            "[bus\n",
            "polybus.toml: not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 5)",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place_and_what_is_allowed(text: str, problem: str) -> None:
    found = problems_of(text)
    assert any(problem in line for line in found), found
    assert all(line.startswith("polybus.toml: ") and "\n" not in line for line in found)


def test_all_problems_are_told_at_once() -> None:
    found = problems_of(BASE + 'lease = "x"\nmax_attempts = 0\n[services.s]\nconsumes = ["nothing"]')
    assert len(found) == 3


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "no such file; `polybus init` writes one"),
        (lambda path: path.mkdir(), "can't be read: Is a directory"),
        (lambda path: path.write_bytes(b"[bus]\nname = '\xff'"), "at line 2: found bytes that are not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(tmp_path: Path, write: object, words: str) -> None:
    path = tmp_path / "polybus.toml"
    write(path)  # type: ignore[operator]
    with pytest.raises(TopologyError) as caught:
        load(path)
    assert words in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_digest_sees_values_and_nothing_else() -> None:
    first = digest(loads(BASE + """filter = 'a == "1" and b == "2"'\n[topics.z]\n[topics.y]\n""", source="one"))
    again = digest(loads(BASE + """filter = 'a=="1"   and b=="2"'\n[topics.y]\n[topics.z]\n""", source="two"))
    assert first == again
    assert len(first) == 16
    assert digest(loads(BASE, source="one")) != first
    assert digest(loads(BASE + 'lease = "61s"', source="one")) != digest(loads(BASE, source="one"))
    assert digest(loads(BASE + "[topics.t.aws]\nd = 2026-01-01", source="one")) != digest(loads(BASE, source="one"))


@given(st.integers(min_value=0, max_value=10**10))
def test_a_printed_duration_reads_the_same(milliseconds: int) -> None:
    assert round((parse_duration(format_duration(milliseconds / 1000)) or 0) * 1000) == milliseconds


@given(st.integers(min_value=0, max_value=10**10))
def test_a_printed_size_reads_the_same(size: int) -> None:
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["", "s", "60", "1m2h", "-1s", "1.5m", "1 s", "1S", "60sec"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("500ms", 0.5), ("1.5s", 1.5), ("1h30m", 5400), ("7d", 604800)]
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("900B", 900), ("256KiB", 262144), ("1MB", 1000000), ("2 MiB", 2097152)])
def test_sizes_are_bytes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "256", "KiB", "1.5MiB", "-1B", "1GB"])
def test_what_is_no_size_is_none(text: str) -> None:
    assert parse_size(text) is None


def test_a_password_in_a_url_is_told_to_nobody() -> None:
    with pytest.raises(TopologyError) as raised:
        loads(BASE + 'push = { https = "https://me:pw@x.y/z" }', source="polybus.toml")
    assert "pw" not in str(raised.value)
    assert loads(BASE + 'push = { https = "https://x.y/@me?a=b@c" }', source="polybus.toml")


class Name(str):
    """A name that is compared with no other to be put in order."""

    __slots__ = ()

    def __lt__(self, other: str) -> bool:
        raise AssertionError(f"{self} is sorted")


def test_a_reference_that_is_good_is_looked_up_and_not_searched_for() -> None:
    """There may be thousands of entries, and of references to them."""
    topics = {Name(name): Topic(name) for name in ("orders", "news")}
    subscriptions = {Name(name): Subscription(name, "news") for name in ("billing", "audit")}
    queues = {Name(name): Queue(name) for name in ("jobs", "mail")}
    services = {"all": Service("all", ("orders", "jobs"), ("billing", "mail"), ("audit", "jobs"))}
    problems = Problems("polybus.toml")
    check_references(Topology("shop", topics, subscriptions, queues, services), problems)
    assert problems.lines == []


def test_the_clouds_are_looked_for_once_however_many_entries_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes reading what every installed package offers."""
    asked: list[str] = []
    real = file.each

    def counted(part: str) -> Any:
        asked.append(part)
        return real(part)

    monkeypatch.setattr(file, "each", counted)
    loads(BASE + "".join(f"\n[topics.t{number}]" for number in range(20)), source="polybus.toml")
    assert asked == ["planning"]
