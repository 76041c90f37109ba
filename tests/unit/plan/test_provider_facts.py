"""What providers say of their types of resources: all that is planned satisfies it, and what doesn't is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from tests.provision.test_golden import GOLDEN

from polybus.plan.facts import Facts, Takes, refused
from polybus.plan.planning import immutable, planning_of
from polybus.provision.laptop import differences

from .test_immutable import TYPES, arguments

FACTS: dict[str, Facts] = {
    type_: facts for cloud in ("aws", "azure", "gcp") for type_, facts in planning_of(cloud).facts.items()
}
RULES = [(type_, path) for type_, facts in FACTS.items() for path in facts.takes]

# The SDKs themselves warn, at import, of modules of theirs that moved.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def registered() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Give what each example stack registers, with JSON as the text that it is."""
    for path in sorted(GOLDEN.glob("*.json")):
        for resource in json.loads(path.read_text())["resources"]:
            yield path.stem, resource["type"], {key: as_text(value) for key, value in resource["inputs"].items()}


def as_text(value: Any) -> Any:
    return json.dumps(value["json"]) if isinstance(value, dict) and value.keys() == {"json"} else value


def at(path: str, value: Any) -> dict[str, Any]:
    """Give properties that have a value at a path, each table on the way in a list, as the engine names them."""
    first, _, rest = differences._camel(path).partition(".")
    return {first: [at(rest, value)] if rest else value}


def mistaken(takes: Takes) -> Iterator[Any]:
    """Give a value on the wrong side of each limit."""
    if takes.least is not None:
        yield takes.least - 1
    if takes.most is not None:
        yield takes.most + 1
    if takes.length is not None:
        yield from ["x" * (takes.length[1] + 1)] if takes.length[1] < 1_000_000 else []
        yield from [""] if takes.length[0] else []
    if takes.pattern:
        yield "“deleted” \n" * 100
    if takes.among:
        yield "Of no kind" if isinstance(takes.among[0], str) else 7_001
    if takes.json:
        yield "{"
    if takes.items is not None:
        yield [""] * (takes.items + 1)


@pytest.mark.parametrize("type_", FACTS)
def test_each_type_that_is_planned_has_its_facts(type_: str) -> None:
    facts = FACTS[type_]
    assert facts.source
    assert immutable(type_) == facts.immutable
    assert {path.partition(".")[0] for path in facts.takes} <= arguments(type_)
    assert {*facts.needs, *facts.needs.values()}.union(*facts.conflicts) <= arguments(type_)


def test_all_that_is_planned_has_facts() -> None:
    assert set(TYPES) <= FACTS.keys()


def test_what_the_example_stacks_register_is_taken() -> None:
    seen = set()
    for stack, type_, given in registered():
        seen.add(type_)
        assert (stack, type_, list(differences.refused(type_, given))) == (stack, type_, [])
    assert seen - {"polybus:index:MessageBus"} <= FACTS.keys()
    assert len(seen & FACTS.keys()) > 25


@pytest.mark.parametrize(("type_", "path"), RULES)
def test_what_is_out_of_range_is_refused_by_name(type_: str, path: str) -> None:
    """Each limit of each property, from its far side."""
    takes = FACTS[type_].takes[path]
    values = list(mistaken(takes))
    assert values
    for value in values:
        found = [(re.sub(r"\[\d+\]", "", at_), problem) for at_, problem in differences.refused(type_, at(path, value))]
        assert differences._camel(path) in [at_ for at_, _ in found], (value, found)


@pytest.mark.parametrize(("type_", "path"), RULES)
def test_what_is_not_known_yet_is_not_refused(type_: str, path: str) -> None:
    found = {at_ for at_, _ in differences.refused(type_, at(path, differences.UNKNOWN))}
    assert not any(re.sub(r"\[\d+\]", "", one) == differences._camel(path) for one in found)


@pytest.mark.parametrize(
    ("type_", "given", "wrong"),
    [
        ("aws:sqs/queue:Queue", {"delaySeconds": 901}, ("delaySeconds", "found 901; allowed: from 0 to 900")),
        ("aws:sqs/queue:Queue", {"visibilityTimeoutSeconds": 43_201.0}, ("visibilityTimeoutSeconds", "found 43201; ")),
        (
            "aws:sqs/queue:Queue",
            {"kmsMasterKeyId": "alias/a", "sqsManagedSseEnabled": False},
            ("kmsMasterKeyId", "conflicts with sqs_managed_sse_enabled"),
        ),
        (
            "aws:sns/topic:Topic",
            {"contentBasedDeduplication": True},
            ("contentBasedDeduplication", "needs fifo_topic = true"),
        ),
        (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            {"period": 90},
            ("period", "found 90; allowed: 10, 20, 30, multiples of 60"),
        ),
        (
            "aws:cloudwatch/metricAlarm:MetricAlarm",
            {"okActions": ["arn:aws:sns:eu-west-1:111122223333:ops", "ops"]},
            ("okActions[1]", "found 'ops'; allowed: "),
        ),
        (
            "azure-native:monitor:ActionGroup",
            {"groupShortName": "thirteen chars"},
            ("groupShortName", "found 14 bytes; allowed: 0 to 12"),
        ),
        (
            "gcp:monitoring/alertPolicy:AlertPolicy",
            {"conditions": [{"conditionThreshold": {"comparison": "more"}}]},
            ("conditions[0].conditionThreshold.comparison", "found 'more'; allowed: COMPARISON_GT, "),
        ),
        (
            "gcp:pubsub/topicIAMMember:TopicIAMMember",
            {"member": "deleted:serviceAccount:a@b?uid=1"},
            ("member", "found 'deleted:"),
        ),
    ],
)
def test_the_engine_is_told_which_property_and_what_it_may_be(
    type_: str, given: Mapping[str, Any], wrong: tuple[str, str]
) -> None:
    found = [(property_, reason) for property_, reason in differences.refused(type_, given) if property_ == wrong[0]]
    assert [reason.startswith(wrong[1]) for _, reason in found] == [True]


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        ("aws:cloudwatch/metricAlarm:MetricAlarm", {"name": "a", "period": 120, "treatMissingData": "NOTBREACHING"}),
        ("aws:sqs/queue:Queue", {"name": "a", "contentBasedDeduplication": True, "fifoQueue": differences.UNKNOWN}),
        ("aws:ssm/parameter:Parameter", {"name": "a", "value": "b"}),
        ("gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember", {"member": "allUsers"}),
        ("aws:s3/bucket:Bucket", {"bucket": "No!"}),
    ],
)
def test_what_the_provider_takes_is_taken(type_: str, given: Mapping[str, Any]) -> None:
    assert list(differences.refused(type_, given)) == []


def test_a_parameter_is_replaced_only_where_its_tier_is_lowered() -> None:
    type_ = "aws:ssm/parameter:Parameter"

    def forces(old: str, new: str) -> bool:
        return differences.forces(type_, "tier", {"tier": old}, {"tier": new}, {})

    assert forces("Advanced", "Standard")
    assert not forces("Standard", "Advanced")
    assert differences.forces(type_, "dataType", {"dataType": "text"}, {"dataType": "aws:ec2:image"}, {})


def test_what_the_plan_has_as_references_is_not_looked_at() -> None:
    facts = Facts(source="", immutable=frozenset(), takes={"a": Takes(pattern="b")}, needs={"c": "d"})
    assert list(refused(facts, {"a": ..., "c": True, "d": ...})) == []
    assert list(refused(facts, {"a": "x", "c": True})) == [("a", "found 'x'; allowed: b"), ("c", "needs d = true")]


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_what_is_fixed_is_said_once(cloud: str) -> None:
    planning = planning_of(cloud)
    assert planning.immutable.keys() == planning.facts.keys()
    assert all(type_.startswith(f"{planning.provider}:") for type_ in planning.facts)
