"""The life of a stack, with a test double of the engine and the program in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest

from polybus.binding import Binding
from polybus.localcloud.aws.realise import Realiser
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread

from . import runner
from .engine import Changes, EngineDouble

PROGRAM = runner.STACKS / "__main__.py"
CONFIG = {"polybus:cloud": "aws", "aws:region": "eu-west-1"}
BASE = """
[bus]
name = "shop"
[topics.orders]
ordered = true
[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'
[queues.jobs]
[services.checkout]
publishes = ["orders", "jobs"]
"""
ADDED = BASE + '[subscriptions.audit]\ntopic = "orders"\n'


class LocalAws:
    """The provider of the double: a local AWS server, through boto3."""

    def __init__(self, server: AwsServer) -> None:
        self._realiser = Realiser(endpoint=server.url, region="eu-west-1")
        given = {"aws_access_key_id": "local", "aws_secret_access_key": "local", "region_name": "eu-west-1"}
        self.sns: Any = boto3.client("sns", endpoint_url=server.url, **given)
        self.sqs: Any = boto3.client("sqs", endpoint_url=server.url, **given)
        self._deletes = {
            "aws:sns/topicSubscription:TopicSubscription": lambda made: self.sns.unsubscribe(
                SubscriptionArn=made["arn"]
            ),
            "aws:sns/topic:Topic": lambda made: self.sns.delete_topic(TopicArn=made["arn"]),
            "aws:sqs/queue:Queue": lambda made: self.sqs.delete_queue(QueueUrl=made["url"]),
        }

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        return self._realiser.create(type_, name, inputs)

    def update(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]:
        assert type_.endswith("Policy"), f"{name}: only what is set on a queue or topic can be set again"
        return self._realiser.create(type_, name, inputs)

    def delete(self, type_: str, outputs: Mapping[str, str]) -> None:
        if type_ in self._deletes:
            self._deletes[type_](outputs)

    def names(self) -> set[str]:
        """List every queue and topic, and how many subscriptions there are."""
        queues = self.sqs.list_queues().get("QueueUrls", [])
        topics = [topic["TopicArn"] for topic in self.sns.list_topics()["Topics"]]
        subscriptions = [one["Endpoint"] for one in self.sns.list_subscriptions()["Subscriptions"]]
        return {*queues, *topics, *(f"subscribed {endpoint}" for endpoint in subscriptions)}

    def close(self) -> None:
        for client in (self._realiser, self.sns, self.sqs):
            client.close()


@pytest.fixture
def aws() -> Iterator[LocalAws]:
    with running_in_thread(AwsServer(region="eu-west-1")) as server:
        provider = LocalAws(server)
        try:
            yield provider
        finally:
            provider.close()


def declare(folder: Path, topology: str) -> None:
    (folder / "polybus.toml").write_text(topology)


def binding(changes: Changes) -> Binding:
    return Binding.from_json(json.dumps(runner.whole(changes.outputs["polybus"])))


def test_the_life_of_a_stack(aws: LocalAws, tmp_path: Path) -> None:
    engine = EngineDouble(aws, "dev")

    declare(tmp_path, BASE)
    previewed = engine.preview(PROGRAM, tmp_path, CONFIG)
    assert previewed.failed == ""
    assert aws.names() == set(), "a preview makes nothing"

    first = engine.up(PROGRAM, tmp_path, CONFIG)
    assert first.failed == ""
    assert first.created == previewed.created, "what was previewed is what is done"
    assert first.updated | first.deleted == set()
    assert binding(first).topics["orders"].address == "arn:aws:sns:eu-west-1:000000000000:shop-dev-orders.fifo"
    made = aws.names()

    again = engine.up(PROGRAM, tmp_path, CONFIG)
    assert again.none, "a second update changes nothing"
    assert again.same == first.created
    assert again.outputs == first.outputs

    declare(tmp_path, ADDED)
    added = engine.up(PROGRAM, tmp_path, CONFIG)
    assert added.failed == ""
    assert added.created == {
        "shop-audit-queue",
        "shop-audit-queue-access",
        "shop-audit-dead-letters",
        "shop-audit-dead-letters-access",
        "shop-audit-redrive",
        "shop-audit-redrive-allow",
        "shop-audit-subscription",
    }
    assert added.updated | added.deleted == set(), "nothing else changes"
    assert set(binding(added).subscriptions) == {"billing", "audit"}

    declare(tmp_path, BASE)
    removed = engine.up(PROGRAM, tmp_path, CONFIG)
    assert removed.deleted == added.created
    assert removed.created | removed.updated == set()
    assert aws.names() == made

    engine.destroy()
    assert engine.state == {}
    assert aws.names() == set(), "nothing is left"


def test_a_protected_stack_is_not_destroyed(aws: LocalAws, tmp_path: Path) -> None:
    engine = EngineDouble(aws, "prod")
    declare(tmp_path, BASE)
    assert engine.up(PROGRAM, tmp_path, {**CONFIG, "polybus:protect": "true"}).failed == ""
    made = aws.names()
    assert engine.destroy().failed == (
        "protected: shop-billing-dead-letters, shop-billing-queue, shop-jobs-dead-letters, shop-jobs-queue"
    )
    assert aws.names() == made

    assert engine.up(PROGRAM, tmp_path, CONFIG).none
    assert engine.destroy().failed == ""
    assert aws.names() == set()


def test_wrong_configuration_ends_the_program_with_one_line_and_nothing_made(aws: LocalAws, tmp_path: Path) -> None:
    engine = EngineDouble(aws, "dev")
    declare(tmp_path, BASE)
    refused = engine.up(PROGRAM, tmp_path, {"polybus:cloud": "asw"})
    assert refused.failed == "Pulumi.dev.yaml: polybus:cloud: found 'asw'; allowed: aws, azure, gcp\n"
    assert [held.type for held in engine.state.values()] == ["pulumi:pulumi:Stack"]
    assert aws.names() == set()
