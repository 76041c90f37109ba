"""Topics and queues of others whose addresses the stack has and not the topology: as text, and as outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan.namespace import AzureSettings
from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.errors import ConfigError
from polybus.provision import MessageBus
from polybus.topology.file import loads
from polybus.topology.model import digest

from . import runner, simulated

PLAIN = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[topics.news]
[subscriptions.billing]
topic = "orders"
[queues.jobs]
[services.web]
publishes = ["orders", "jobs"]
consumes = ["billing", "jobs"]
operates = ["jobs"]
[alarms]
"""
AWS = {
    "orders": "arn:aws:sns:eu-west-1:111122223333:theirs.fifo",
    "jobs": "arn:aws:sqs:eu-west-1:111122223333:their-jobs",
}
NAMESPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/shop-dev"
AZURE = {"orders": f"{NAMESPACE}/topics/theirs", "jobs": f"{NAMESPACE}/queues/their-jobs"}
GCP = {"orders": "projects/other/topics/theirs", "jobs": "projects/other/topics/their-jobs"}
CLOUDS: Mapping[str, tuple[Any, Mapping[str, str]]] = {
    "aws": (AwsSettings(stack="dev", region="eu-west-1", bindings="ssm"), AWS),
    "azure": (AzureSettings(stack="dev", namespace="shop-dev"), AZURE),
    "gcp": (GcpSettings(stack="dev", project="p", project_number="42"), GCP),
}
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)


def done(cloud: str, existing: Mapping[str, Any] | None, text: str = PLAIN, **more: Any) -> runner.Run:
    def program() -> None:
        given = None if existing is None else {name: value() for name, value in existing.items()}
        bus = MessageBus(
            "shop", topology=loads(text, source="shop.toml"), cloud=cloud, settings=CLOUDS[cloud][0], existing=given
        )
        for name, value in {"polybus": bus.binding, "bindings": bus.bindings, **bus.exports}.items():
            pulumi.export(name, value)

    return runner.run(program, simulated.create, look=simulated.look, **more)


def as_text(existing: Mapping[str, str]) -> dict[str, Callable[[], Any]]:
    return {name: (lambda value=value: value) for name, value in existing.items()}  # type: ignore[misc]


def as_output(existing: Mapping[str, str]) -> dict[str, Callable[[], Any]]:
    return {name: (lambda value=value: pulumi.Output.from_input(value)) for name, value in existing.items()}  # type: ignore[misc]


def declared(existing: Mapping[str, str]) -> str:
    text = PLAIN
    for name, value in existing.items():
        text = re.sub(rf"(\[(topics|queues)\.{name}\]\n)", rf'\1existing = "{value}"\n', text)
    return text


def inputs(run: runner.Run) -> dict[str, Any]:
    return {one.name: (one.type, plain(runner.whole(dict(one.inputs)))) for one in run.resources}


def plain(value: Any) -> Any:
    """Read JSON text, and leave out the digest, which is of another topology."""
    if isinstance(value, str) and value.startswith("{"):
        return plain(json.loads(value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key != "digest"}
    return [plain(item) for item in value] if isinstance(value, list) else value


@each_cloud
@pytest.mark.parametrize("form", [as_text, as_output])
def test_what_the_stack_names_is_as_if_the_topology_did(
    cloud: str, form: Callable[[Mapping[str, str]], dict[str, Callable[[], Any]]]
) -> None:
    theirs = CLOUDS[cloud][1]
    found, expected = done(cloud, form(theirs)), done(cloud, None, declared(theirs))
    assert inputs(found) == inputs(expected)
    assert plain(found.outputs) == plain(expected.outputs)
    assert "polybus-given" not in repr((inputs(found), found.outputs))
    # What drifts is compared with the file that was deployed, whichever environment it was.
    mine = digest(loads(PLAIN, source="shop.toml"))
    assert found.outputs["polybus"]["digest"] == mine
    assert {json.loads(text)["digest"] for text in found.outputs["bindings"].values()} == {mine}


@each_cloud
def test_what_the_stack_names_is_over_what_the_topology_does(cloud: str) -> None:
    theirs = CLOUDS[cloud][1]
    other = {name: value.replace("their", "old") for name, value in theirs.items()}
    assert inputs(done(cloud, as_output(theirs), declared(other))) == inputs(done(cloud, None, declared(theirs)))


@each_cloud
def test_a_preview_does_not_know_what_is_not_there_yet(cloud: str) -> None:
    async def future(value: Any) -> Any:
        return value

    def unknown() -> pulumi.Output[str]:
        return pulumi.Output(set(), future(None), future(False), future(False))

    previewed = done(cloud, {"orders": unknown, "jobs": unknown}, preview=True)
    assert "polybus-given" not in repr((inputs(previewed), previewed.outputs))
    known = done(cloud, as_text(CLOUDS[cloud][1]), preview=True)
    assert inputs(previewed).keys() == inputs(known).keys()


def test_a_topic_of_the_same_program_is_what_the_bus_subscribes_to() -> None:
    def program() -> None:
        import pulumi_aws

        theirs = pulumi_aws.sns.Topic("theirs", name="theirs.fifo", fifo_topic=True)
        settings = CLOUDS["aws"][0]
        topology = loads(PLAIN, source="shop.toml")
        MessageBus("shop", topology=topology, cloud="aws", settings=settings, existing={"orders": theirs.arn})

    run = runner.run(program, simulated.create)
    subscription = run.named("shop-billing-subscription")
    assert subscription.inputs["topic"] == "arn:aws:sns:eu-west-1:111122223333:theirs.fifo"
    assert "theirs" in subscription.options["dependencies"]
    assert "shop-orders-topic" not in inputs(run)


@pytest.mark.parametrize(
    ("cloud", "wrong", "words"),
    [
        ("aws", {"orders": "arn:aws:sqs:eu-west-1:111122223333:theirs.fifo"}, "allowed: the ARN of an SNS topic"),
        ("aws", {"orders": "arn:aws:sns:eu-west-1:111122223333:theirs"}, "ordered has to say what it is"),
        ("azure", {"jobs": f"{NAMESPACE}-2/queues/jobs"}, "it has to be in the namespace of the stack, shop-dev"),
        ("gcp", {"jobs": "their-jobs"}, "allowed: projects/<project>/topics/<topic>"),
    ],
)
def test_what_it_turns_out_to_be_is_held_to_the_same_rules(cloud: str, wrong: Mapping[str, str], words: str) -> None:
    for form in (as_text, as_output):
        with pytest.raises(Exception, match=re.escape(words)):
            done(cloud, form(wrong))


def test_a_name_that_the_topology_has_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"existing\.ordres: shop\.toml declares no .*; did you mean orders\?"):
        done("aws", as_output({"ordres": AWS["orders"]}))


def test_the_stack_s_configuration_has_it_too(tmp_path: Path) -> None:
    (tmp_path / "polybus.toml").write_text(PLAIN)
    values = {
        "polybus:cloud": "aws",
        "aws:region": "eu-west-1",
        "polybus:existing": json.dumps({"jobs": AWS["jobs"]}),
    }
    run = runner.run(runner.main, simulated.create, look=simulated.look, values=values, root=tmp_path)
    assert run.outputs["queues"]["jobs"]["arn"] == AWS["jobs"]
    assert "shop-jobs-queue" not in inputs(run)
