"""`polybus check --live` on the local Pub/Sub: it tells exactly what is not as declared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from polybus.clock import SystemClock
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpSettings, plan
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import ThreadedServer
from polybus.topology.file import load

from .live_drifts import drifts

PROJECT = "drifting"
TOPOLOGY = """
[bus]
name = "shop"

[topics.orders]
ordered = true

[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'

[subscriptions.hook]
topic = "orders"
ordered = false
push = { function = "mailer" }
backoff = { initial = "500ms", maximum = "1m" }

[queues.jobs]
lease = "30s"

[alarms]
"""


class Account:
    """A realised topology, and Google's clients to change what is there."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.topology = folder / "polybus.toml"
        self.endpoint = endpoint
        self.realise(TOPOLOGY)
        self.channel = grpc.insecure_channel(endpoint)
        self.publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self.channel))
        self.subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self.channel))

    def realise(self, text: str) -> None:
        """Make what a topology declares, and write its binding where commands find it."""
        self.topology.write_text(text)
        settings = GcpSettings(stack="dev", project=PROJECT, functions={"mailer": "https://mailer.run.app"})
        made = realise(plan(load(self.topology), settings), endpoint=self.endpoint, project=PROJECT)
        self.binding = msgspec.structs.replace(made, settings={**made.settings, "endpoint": self.endpoint})
        (self.topology.parent / "polybus.binding.json").write_text(self.binding.to_json())

    def change(self, path: str, **fields: Any) -> None:
        self.subscriber.update_subscription(
            request={"subscription": {"name": path, **fields}, "update_mask": {"paths": list(fields)}}
        )


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.chdir(tmp_path)
    server = PubsubServer(clock=SystemClock(), project=PROJECT)
    running = ThreadedServer(server)
    running.start()
    made = Account(tmp_path, f"{server.host}:{server.port}")
    yield made
    made.channel.close()
    running.stop()


def test_what_was_just_made_is_as_declared(cli: Callable, account: Account) -> None:
    result = cli("check", "--live")
    assert result.code == 0, result.out
    assert result.out == "gcp: 17 resources are as declared\n"
    assert cli("check", "--live", "--json").json()["stack"] == "dev"


def test_settings_of_a_subscription(cli: Callable, account: Account) -> None:
    path = account.binding.queues["jobs"].address
    account.change(path, ack_deadline_seconds=31, retry_policy={"minimum_backoff": "7s", "maximum_backoff": "8s"})
    assert drifts(cli) == [("changed", "queue", "queues.jobs", ["ack_deadline_seconds", "retry_policy"])]
    assert "ack_deadline_seconds: planned 30, found 31" in cli("check", "--live").out


def test_dead_letters_and_expiry_that_were_switched(cli: Callable, account: Account) -> None:
    path = account.binding.subscriptions["billing"].address
    account.change(path, dead_letter_policy=None, expiration_policy={"ttl": "86400s"})
    [(_, _, entry, properties)] = drifts(cli)
    assert (entry, properties) == ("subscriptions.billing", ["expiration_policy", "dead_letter_policy"])


def test_a_subscription_that_was_deleted_and_made_again_without_its_filter(cli: Callable, account: Account) -> None:
    path = account.binding.subscriptions["billing"].address
    account.subscriber.delete_subscription(subscription=path)
    found = drifts(cli)
    assert ("missing", "subscription", "subscriptions.billing", []) in found
    assert {(kind, entry) for kind, _, entry, _ in found} == {("missing", "subscriptions.billing")}
    topic = account.binding.topics["orders"].address
    account.subscriber.create_subscription(request={"name": path, "topic": topic})
    [changed, agent] = drifts(cli)
    assert {"filter", "enable_message_ordering", "labels", "dead_letter_policy"} <= set(changed[3])
    assert agent == ("missing", "access", "subscriptions.billing", [])  # rights go with what they were given on


def test_a_subscription_that_nobody_planned(cli: Callable, account: Account) -> None:
    path = f"projects/{PROJECT}/subscriptions/foreign"
    account.subscriber.create_subscription(request={"name": path, "topic": account.binding.topics["orders"].address})
    assert drifts(cli) == [("extra", "subscription", "", [])]
    assert path in cli("check", "--live").out


def test_what_bears_our_labels_and_is_not_planned(cli: Callable, account: Account) -> None:
    labels = {"polybus-bus": "shop", "polybus-stack": "dev"}
    account.publisher.create_topic(request={"name": f"projects/{PROJECT}/topics/old", "labels": labels})
    other = {**labels, "polybus-stack": "prod"}
    account.publisher.create_topic(request={"name": f"projects/{PROJECT}/topics/prod", "labels": other})
    assert drifts(cli) == [("extra", "topic", "", [])]


def test_rights_of_everybody_and_of_the_service_agent(cli: Callable, account: Account) -> None:
    topic = account.binding.queues["jobs"].options["dead_letter_topic"]
    policy = account.publisher.get_iam_policy(request={"resource": topic})
    del policy.bindings[:]
    policy.bindings.add(role="roles/pubsub.publisher", members=["allUsers", "serviceAccount:worker@p"])
    account.publisher.set_iam_policy(request={"resource": topic, "policy": policy})
    assert drifts(cli) == [("missing", "access", "queues.jobs", []), ("extra", "rights", "", [])]
    assert f"{topic}: roles/pubsub.publisher for allUsers" in cli("check", "--live").out


def test_no_server(cli: Callable, account: Account) -> None:
    gone = msgspec.structs.replace(account.binding, settings={"project": PROJECT, "endpoint": "127.0.0.1:9"})
    (account.topology.parent / "gone.json").write_text(gone.to_json())
    result = cli("check", "--live", "--binding", "gone.json")
    assert (result.code, result.out) == (1, "")
    assert "unavailable" in result.err


def test_of_what_is_adopted_only_that_it_is_there(cli: Callable, account: Account) -> None:
    path = f"projects/{PROJECT}/topics/theirs"
    account.publisher.create_topic(request={"name": path})
    account.subscriber.create_subscription(request={"name": f"projects/{PROJECT}/subscriptions/other", "topic": path})
    account.realise(TOPOLOGY + f'[topics.seen]\nexisting = "{path}"\n')
    assert drifts(cli) == []
    account.publisher.delete_topic(topic=path)
    assert drifts(cli) == [("missing", "adopted topic", "topics.seen", [])]
