"""From the stack's program to a handled message, on AWS; and that what lets it pass is needed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from polybus.localcloud.aws.policy.document import Policy, Request

from . import flow
from .deployed_aws import Deployed, deploy


@pytest.fixture(scope="module")
def deployed() -> Iterator[Deployed]:
    with deploy() as made:
        yield made


async def test_the_exported_binding_carries_messages(deployed: Deployed) -> None:
    await flow.whole_flow(deployed.bus)


async def test_it_carries_them_with_each_service_s_own_rights(deployed: Deployed) -> None:
    for service, policy in deployed.policies.items():
        deployed.server.identities.put(service, policy)
    await flow.whole_flow(lambda service: deployed.bus(service, access_key=service))


def set_policy(deployed: Deployed, queue: str, document: dict[str, Any]) -> None:
    url = deployed.run.outputs["subscriptions"][queue]["url"]
    deployed.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(document)})


def queue_policy(deployed: Deployed, queue: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(deployed.run.named(f"shop-{queue}-queue-access").inputs["policy"])
    return document


def without(document: dict[str, Any], sid: str) -> dict[str, Any]:
    left = [statement for statement in document["Statement"] if statement["Sid"] != sid]
    assert len(left) == len(document["Statement"]) - 1
    return {**document, "Statement": left}


async def test_nothing_arrives_without_the_queue_s_consent(deployed: Deployed) -> None:
    """The topic is ordered: if the first had arrived, it would have come before the second."""
    document = queue_policy(deployed, "billing")
    async with deployed.bus("checkout") as checkout, deployed.bus("billing") as billing:
        await asyncio.to_thread(set_policy, deployed, "billing", without(document, "AllowTopic"))
        await checkout.publish("orders", "barred", attributes={"region": "eu"}, ordering_key="consent")
        await asyncio.to_thread(set_policy, deployed, "billing", document)
        await checkout.publish("orders", "let in", attributes={"region": "eu"}, ordering_key="consent")
        [delivery] = await flow.take(billing, "billing", 1)
    assert delivery.body == b"let in"


def access_policies(deployed: Deployed) -> Iterator[tuple[str, dict[str, Any]]]:
    for kind in ("aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy"):
        for resource in deployed.run.of(kind):
            yield resource.name, json.loads(resource.inputs["policy"])


def verdict(document: dict[str, Any], resource: str, *, principal: str, source: str, tls: str) -> bool | None:
    action = "sns:Publish" if ":sns:" in resource else "sqs:SendMessage"
    context = {"aws:securetransport": tls, "aws:sourcearn": source}
    return Policy.parse(document, principals=True).verdict(Request(principal, action, resource, context))


def test_every_queue_and_topic_refuses_what_comes_without_tls(deployed: Deployed) -> None:
    found = list(access_policies(deployed))
    assert len(found) == 2 * 4 + 3, "a queue and its dead letters four times, two topics and that of alarms"
    for name, document in found:
        resource = document["Statement"][-1]["Resource"]
        plain = {"principal": "arn:aws:iam::000000000000:root", "source": "", "tls": "false"}
        assert verdict(document, resource, **plain) is False, name
        assert verdict(without(document, "RefuseInsecureTransport"), resource, **plain) is None, name


def test_a_queue_takes_messages_of_its_own_topic_alone(deployed: Deployed) -> None:
    outputs = deployed.run.outputs
    for queue, own in (("billing", "orders"), ("audit", "orders"), ("letters", "news")):
        document, resource = queue_policy(deployed, queue), outputs["subscriptions"][queue]["arn"]
        barred = without(document, "AllowTopic")
        for name, topic in outputs["topics"].items():
            sns = {"principal": "sns.amazonaws.com", "source": topic["arn"], "tls": "true"}
            assert verdict(document, resource, **sns) is (True if name == own else None), (queue, name)
            assert verdict(barred, resource, **sns) is None
