"""`polybus check --live` on the local Service Bus: it tells exactly what is not as declared."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus.management import ServiceBusAdministrationClient, SqlRuleAction, SqlRuleFilter

from polybus.clock import SystemClock
from polybus.clouds.azure.local import realise
from polybus.clouds.azure.plan.resources import AzureSettings, plan
from polybus.localcloud.server import ThreadedServer
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.topology.file import load

from .live_drifts import drifts

TOPOLOGY = """
[bus]
name = "shop"

[topics.orders]
ordered = true

[subscriptions.billing]
topic = "orders"
filter = 'region == "eu"'

[subscriptions.watch]
topic = "orders"
ordered = false

[queues.jobs]
lease = "30s"
retention = "4d"
"""
NAMESPACE = "shop-shared"
ENTITIES = f"/subscriptions/s/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/{NAMESPACE}"


class Account:
    """A realised topology, and Azure's client to change what is there."""

    def __init__(self, folder: Path, server: ServiceBusServer) -> None:
        self.topology = folder / "polybus.toml"
        self.server = server
        self.realise(TOPOLOGY)
        to, certificate = server.connection_string(), server.certificate
        self.client: Any = ServiceBusAdministrationClient.from_connection_string(to, connection_verify=str(certificate))

    def realise(self, text: str) -> None:
        """Make what a topology declares, and write its binding where commands find it."""
        self.topology.write_text(text)
        to, certificate = self.server.connection_string(), self.server.certificate
        planned = plan(load(self.topology), AzureSettings(stack="dev", namespace=NAMESPACE))
        binding = realise(planned, connection_string=to, ca_file=certificate)
        (self.topology.parent / "polybus.binding.json").write_text(binding.to_json())


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.chdir(tmp_path)
    server = ServiceBusServer(clock=SystemClock())
    running = ThreadedServer(server)
    running.start()
    for name, value in server.env().items():
        monkeypatch.setenv(name, value)
    made = Account(tmp_path, server)
    yield made
    made.client.close()
    running.stop()


def test_what_was_just_made_is_as_declared(cli: Callable, account: Account) -> None:
    result = cli("check", "--live")
    assert result.code == 0, result.out
    assert result.out == "azure: 6 resources are as declared\n"
    assert "1 namespace" in result.err
    assert cli("check", "--live", "--json").json()["stack"] == "dev"


def test_settings_of_a_queue(cli: Callable, account: Account) -> None:
    queue = account.client.get_queue("shop-dev-jobs")
    queue.lock_duration, queue.max_delivery_count = timedelta(seconds=45), 3
    account.client.update_queue(queue)
    assert drifts(cli) == [("changed", "queue", "queues.jobs", ["lock_duration", "max_delivery_count"])]
    assert "lock_duration: planned PT30S, found PT45S" in cli("check", "--live").out


def test_a_filter_that_was_changed_and_a_rule_that_nobody_planned(cli: Callable, account: Account) -> None:
    rule = account.client.get_rule("shop-dev-orders", "billing", "$Default")
    rule.filter = SqlRuleFilter("region = 'uk'")
    account.client.update_rule("shop-dev-orders", "billing", rule)
    account.client.create_rule("shop-dev-orders", "watch", "more", filter=SqlRuleFilter("a = 'b'"))
    assert drifts(cli) == [
        ("changed", "filter", "subscriptions.billing", ["filter"]),
        ("extra", "filter", "", []),
    ]
    assert "shop-dev-orders/Subscriptions/watch/Rules/more" in cli("check", "--live").out


def test_an_action_that_was_taken_from_a_forward_and_one_that_nobody_planned(cli: Callable, account: Account) -> None:
    account.realise(TOPOLOGY + '[subscriptions.on]\ntopic = "orders"\npush = { forward = "jobs" }\n')
    assert drifts(cli) == []
    forward = account.client.get_rule("shop-dev-orders", "on", "$Default")
    forward.action = None
    account.client.update_rule("shop-dev-orders", "on", forward)
    rule = account.client.get_rule("shop-dev-orders", "watch", "$Default")
    rule.action = SqlRuleAction("SET region = 'uk'")
    account.client.update_rule("shop-dev-orders", "watch", rule)
    assert drifts(cli) == [
        ("changed", "filter", "subscriptions.watch", ["action"]),
        ("changed", "filter", "subscriptions.on", ["action"]),
    ]


def test_a_rule_that_is_gone_lets_nothing_pass(cli: Callable, account: Account) -> None:
    account.client.delete_rule("shop-dev-orders", "billing", "$Default")
    assert drifts(cli) == [("missing", "filter", "subscriptions.billing", [])]


def test_a_subscription_that_was_deleted_and_one_that_nobody_planned(cli: Callable, account: Account) -> None:
    account.client.delete_subscription("shop-dev-orders", "watch")
    account.client.create_subscription("shop-dev-orders", "foreign")
    assert drifts(cli) == [
        ("missing", "subscription", "subscriptions.watch", []),
        ("missing", "filter", "subscriptions.watch", []),
        ("extra", "subscription", "", []),
    ]


def test_a_queue_that_was_made_again_by_hand(cli: Callable, account: Account) -> None:
    account.client.delete_queue("shop-dev-jobs")
    assert drifts(cli) == [("missing", "queue", "queues.jobs", [])]
    account.client.create_queue("shop-dev-jobs", requires_session=True)
    [(kind, _, entry, properties)] = drifts(cli)
    assert (kind, entry) == ("changed", "queues.jobs")
    assert {"requires_session", "requires_duplicate_detection", "default_message_time_to_live"} <= set(properties)


def test_what_else_is_in_the_namespace(cli: Callable, account: Account) -> None:
    account.client.create_queue("old")
    account.client.create_topic("old-topic")
    assert drifts(cli) == [("extra", "topic", "", []), ("extra", "queue", "", [])]


def test_of_what_is_adopted_that_it_is_there_and_keeps_order(cli: Callable, account: Account) -> None:
    account.client.create_topic("theirs")
    account.client.create_subscription("theirs", "somebody")
    account.client.create_queue("their-jobs", requires_session=True)
    text = TOPOLOGY.replace(
        "[queues.jobs]", f'[queues.jobs]\nordered = true\nexisting = "{ENTITIES}/queues/their-jobs"'
    )
    account.realise(text + f'[topics.seen]\nexisting = "{ENTITIES}/topics/theirs"\n')
    account.client.delete_queue("shop-dev-jobs")
    assert drifts(cli) == []
    account.client.delete_queue("their-jobs")
    account.client.create_queue("their-jobs")
    account.client.delete_topic("theirs")
    assert drifts(cli) == [
        ("missing", "adopted topic", "topics.seen", []),
        ("changed", "adopted queue", "queues.jobs", ["requires_session"]),
    ]


def test_no_server(cli: Callable, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in account.server.env().items():
        monkeypatch.setenv(name, re.sub(r":\d+", ":9", value))
    result = cli("check", "--live")
    assert (result.code, result.out) == (1, "")
    assert re.fullmatch(
        r"polybus: unavailable: Cannot connect to host \S+:9 .*; check the namespace's .*\n", result.err
    )
