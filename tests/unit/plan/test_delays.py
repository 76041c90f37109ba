"""A delay that a cloud lacks is refused with a way out that the same cloud takes."""

from __future__ import annotations

import pytest

from polybus.binding import Entity, Kind
from polybus.bus.outgoing import Encoder
from polybus.errors import UnsupportedFeature
from polybus.plan.check import Severity, check
from polybus.topology.file import loads

BUS = '[bus]\nname = "shop"\n'
REFUSED = [
    ("aws", '[topics.it]\nmax_delay = "5m"\n'),
    ("aws", '[queues.it]\nordered = true\nmax_delay = "5m"\n'),
    ("aws", '[queues.it]\nmax_delay = "1h"\n'),
    ("azure", '[topics.it]\nordered = true\nmax_delay = "5m"\n'),
    ("azure", '[queues.it]\nordered = true\nmax_delay = "5m"\n'),
    ("gcp", '[topics.it]\nmax_delay = "5m"\n'),
    ("gcp", '[queues.it]\nmax_delay = "5m"\n'),
]


@pytest.mark.parametrize(("cloud", "text"), REFUSED)
def test_no_way_out_is_a_nack_which_is_a_failed_attempt(cloud: str, text: str) -> None:
    [error] = [one for one in check(loads(BUS + text, source="x"), cloud) if one.severity is Severity.ERROR]
    assert error.path.endswith(".it.max_delay")
    assert "`Outbox.schedule`, by which it waits in the publisher's own database" in error.instead
    assert "nack" not in error.instead


@pytest.mark.parametrize(("cloud", "text"), [one for one in REFUSED if "1h" not in one[1] and one[0] != "gcp"])
def test_an_unordered_queue_before_it_is_taken(cloud: str, text: str) -> None:
    [error] = [one for one in check(loads(BUS + text, source="x"), cloud) if one.severity is Severity.ERROR]
    assert "an unordered queue with max_delay" in error.instead
    instead = text.replace('max_delay = "5m"\n', "") + '[queues.before]\nmax_delay = "15m"\n'
    instead += '[services.clock]\nconsumes = ["before"]\npublishes = ["it"]\n'
    assert [one for one in check(loads(BUS + instead, source="x"), cloud) if one.severity is Severity.ERROR] == []


def test_an_entry_may_leave_out_the_cloud_that_has_none() -> None:
    text = f'{BUS}[queues.it]\nmax_delay = "5m"\nclouds = ["aws", "azure"]\n'
    for cloud in ("aws", "azure", "gcp"):
        assert [one for one in check(loads(text, source="x"), cloud) if one.severity is Severity.ERROR] == []


@pytest.mark.parametrize(
    ("backend", "kind", "ordered", "says"),
    [
        ("gcp", Kind.QUEUE, False, "Google Pub/Sub may have none for queues: `polybus check` says what works instead"),
        ("aws", Kind.TOPIC, False, "AWS SNS and SQS may have none for topics"),
        ("aws", Kind.QUEUE, True, "may have none for ordered queues"),
        ("aws", Kind.QUEUE, False, r"declare it: at \$.queues.it: max_delay"),
        ("memory", Kind.TOPIC, True, r"declare it: at \$.topics.it: max_delay"),
        ("nowhere", Kind.TOPIC, False, r"declare it: at \$.topics.it: max_delay"),
    ],
)
def test_a_publisher_is_not_told_to_declare_what_check_refuses(
    backend: str, kind: Kind, ordered: bool, says: str
) -> None:
    target = Entity(kind=kind, name="it", address="it", ordered=ordered)
    with pytest.raises(UnsupportedFeature, match=says):
        Encoder(target, backend, None).outgoing("body", None, None, 5.0)
