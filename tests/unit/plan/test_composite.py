"""Composite alarms: one page for a bus or a service, however many alarms that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.errors import ConfigError
from polybus.plan.values import Ref, Resource
from polybus.topology.model import Alarms, Queue, Subscription, Topic, Topology

from .shop import ALARMS, by_name, topology

COMPOSITE = "aws:cloudwatch/compositeAlarm:CompositeAlarm"
METRIC = "aws:cloudwatch/metricAlarm:MetricAlarm"
TOLD = [Ref("bus.alarms-topic", "arn")]


def planned(by: Any, of: Topology | None = None) -> dict[str, Resource]:
    return by_name(aws.plan(of or topology(ALARMS), aws.AwsSettings(composite_alarms=by)))


def of_type(found: Mapping[str, Resource], type_: str) -> dict[str, Resource]:
    return {name: item for name, item in found.items() if item.type == type_}


def children(alarm: Resource) -> set[str]:
    return set(re.findall(r'ALARM\("([^"]+)"\)', alarm.properties["alarm_rule"]))


def test_without_it_each_alarm_notifies_for_itself() -> None:
    found = planned(None)
    assert of_type(found, COMPOSITE) == {}
    assert all(alarm.properties["alarm_actions"] == TOLD for alarm in of_type(found, METRIC).values())


def test_one_alarm_of_the_bus_notifies_for_all() -> None:
    found = planned("bus")
    ((name, alarm),) = of_type(found, COMPOSITE).items()
    assert (name, alarm.properties["alarm_name"]) == ("bus.bus-alarm", "shop--bus")
    assert (alarm.properties["alarm_actions"], alarm.properties["ok_actions"]) == (TOLD, TOLD)
    alarms = of_type(found, METRIC)
    assert children(alarm) == {one.properties["name"] for one in alarms.values()}
    assert set(alarm.after) == set(alarms)
    assert {str(one.properties["alarm_actions"]) for one in alarms.values()} == {"[]"}


def test_a_service_has_an_alarm_of_what_it_publishes_to_and_consumes() -> None:
    found = planned("service")
    composites = of_type(found, COMPOSITE)
    assert {name: children(alarm) for name, alarm in composites.items()} == {
        "shop.service-alarm": {"shop-orders-undelivered", "shop-orders-lost"},
        "worker.service-alarm": {
            *("shop-billing-letters", "shop-billing-age", "shop-billing-backlog"),
            *("shop-jobs-letters", "shop-jobs-age", "shop-jobs-backlog"),
        },
    }
    assert composites["worker.service-alarm"].properties["alarm_name"] == "shop-worker--service"
    # What is nobody's notifies for itself.
    assert found["fast-age-alarm"].properties["alarm_actions"] == TOLD
    assert found["jobs-age-alarm"].properties["alarm_actions"] == []


def many(queues: int) -> Topology:
    names = [f"queue-{number:04}-{'x' * 40}" for number in range(queues)]
    return Topology("shop", queues={name: Queue(name) for name in names}, alarms=Alarms())


@pytest.mark.parametrize("queues", [33, 34, 300, 4_000])
def test_a_rule_is_never_longer_than_cloudwatch_takes(queues: int) -> None:
    found = planned("bus", many(queues))
    composites = of_type(found, COMPOSITE)
    for alarm in composites.values():
        assert len(children(alarm)) <= 100
        assert len(alarm.properties["alarm_rule"]) <= 10_240
    below = [name for alarm in composites.values() for name in children(alarm)]
    assert len(below) == len(set(below))
    named = {one.properties["alarm_name"] for one in composites.values()}
    named |= {one.properties["name"] for one in of_type(found, METRIC).values()}
    assert named - set(below) == {"shop--bus"}  # all others are below it
    assert [name for name, one in composites.items() if one.properties["alarm_actions"] != []] == []


def test_what_is_switched_off_is_in_no_composite() -> None:
    off = topology("[queues.jobs.alarms]\nbacklog = false\n" + ALARMS)
    assert "shop-jobs-backlog" not in children(planned("bus", off)["bus.bus-alarm"])
    bare = Topology("shop", topics={"t": Topic("t")}, subscriptions={"s": Subscription("s", "t")}, alarms=None)
    assert of_type(planned("bus", bare), COMPOSITE) == {}


def test_another_word_is_refused() -> None:
    with pytest.raises(ConfigError, match="compositeAlarms: found 'topic'; allowed: bus, service"):
        planned("topic")
