"""ServiceBusAdministrationClient, unmodified, over HTTPS on the server's one port."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.servicebus import ServiceBusClient, ServiceBusMessage
from azure.servicebus.aio.management import ServiceBusAdministrationClient as AsyncAdministrationClient
from azure.servicebus.management import (
    CorrelationRuleFilter,
    ServiceBusAdministrationClient,
    SqlRuleAction,
    SqlRuleFilter,
    TrueRuleFilter,
)

from polybus.localcloud.servicebus import Rule, ServiceBusServer, SqlFilter


@pytest.fixture
def admin(server: ServiceBusServer) -> Iterator[ServiceBusAdministrationClient]:
    with ServiceBusAdministrationClient.from_connection_string(
        server.connection_string(), connection_verify=str(server.certificate), retry_total=0
    ) as client:
        yield client


def test_queues_are_created_read_changed_listed_and_deleted(admin: ServiceBusAdministrationClient) -> None:
    made = admin.create_queue(
        "a/b",
        lock_duration=datetime.timedelta(seconds=90),
        requires_session=True,
        default_message_time_to_live=datetime.timedelta(days=1, hours=2),
        max_delivery_count=7,
        requires_duplicate_detection=True,
        dead_lettering_on_message_expiration=True,
        forward_dead_lettered_messages_to="a/b",
    )
    assert made.lock_duration == datetime.timedelta(seconds=90)
    read = admin.get_queue("a/b")
    assert (read.name, read.requires_session, read.max_delivery_count) == ("a/b", True, 7)
    assert read.default_message_time_to_live == datetime.timedelta(days=1, hours=2)
    read.max_delivery_count = 9
    admin.update_queue(read)
    assert admin.get_queue("a/b").max_delivery_count == 9
    with pytest.raises(ResourceExistsError):
        admin.create_queue("A/b")
    admin.delete_queue("a/b")
    with pytest.raises(ResourceNotFoundError):
        admin.get_queue("a/b")


def test_what_is_fixed_or_out_of_range_is_refused(admin: ServiceBusAdministrationClient) -> None:
    admin.create_queue("q")
    read = admin.get_queue("q")
    read.requires_session = True
    with pytest.raises(HttpResponseError, match="RequiresSession property of an existing Queue cannot be changed"):
        admin.update_queue(read)
    with pytest.raises(HttpResponseError, match="lock_duration"):
        admin.create_queue("long", lock_duration=datetime.timedelta(minutes=6))
    with pytest.raises(HttpResponseError, match="LockDuration"):
        admin.create_queue("short", lock_duration=datetime.timedelta(seconds=1))


def test_lists_are_paged(admin: ServiceBusAdministrationClient, server: ServiceBusServer) -> None:
    for number in range(103):
        server.entities.create_queue(f"q{number:03d}")
    assert [found.name for found in admin.list_queues()] == [f"q{number:03d}" for number in range(103)]


def test_topics_subscriptions_and_rules(admin: ServiceBusAdministrationClient, server: ServiceBusServer) -> None:
    admin.create_topic("t", requires_duplicate_detection=True)
    admin.create_subscription("t", "s", max_delivery_count=30)
    (rule,) = admin.list_rules("t", "s")
    assert (rule.name, type(rule.filter)) == ("$Default", TrueRuleFilter)
    admin.create_rule(
        "t",
        "s",
        "sql",
        filter=SqlRuleFilter("n > @n AND t = @t", parameters={"@n": 5, "@t": "x"}),
        action=SqlRuleAction("SET y = 1"),
    )
    admin.create_rule("t", "s", "cor", filter=CorrelationRuleFilter(label="l", properties={"b": True, "k": "v"}))
    admin.delete_rule("t", "s", "$Default")
    read = admin.get_rule("t", "s", "sql")
    assert (read.filter.sql_expression, read.filter.parameters) == ("n > @n AND t = @t", {"@n": 5, "@t": "x"})
    assert read.action.sql_expression == "SET y = 1"
    read = admin.get_rule("t", "s", "cor")
    assert (read.filter.label, read.filter.properties) == ("l", {"b": True, "k": "v"})
    read.filter = SqlRuleFilter("1=1")
    admin.update_rule("t", "s", read)
    assert {rule.name: rule.filter for rule in server.entities.rules("t", "s")}["cor"] == SqlFilter("1=1")
    with pytest.raises(HttpResponseError, match="character"):
        admin.create_rule("t", "s", "bad", filter=SqlRuleFilter("n >"))
    assert [found.name for found in admin.list_subscriptions("t")] == ["s"]
    assert [found.name for found in admin.list_topics()] == ["t"]
    assert admin.get_topic_runtime_properties("t").subscription_count == 1
    admin.delete_subscription("t", "s")
    with pytest.raises(ResourceNotFoundError):
        admin.get_subscription("t", "s")
    admin.delete_topic("t")
    assert server.entities.topics() == []


def test_counts_are_told(
    admin: ServiceBusAdministrationClient, client: ServiceBusClient, server: ServiceBusServer
) -> None:
    server.entities.create_queue("q")
    with client.get_queue_sender("q") as sender, client.get_queue_receiver("q", max_wait_time=10) as receiver:
        sender.send_messages([ServiceBusMessage("x"), ServiceBusMessage("y")])
        receiver.dead_letter_message(receiver.receive_messages(1)[0])
    found = admin.get_queue_runtime_properties("q")
    assert (found.active_message_count, found.dead_letter_message_count, found.total_message_count) == (1, 1, 2)


def test_the_namespace_and_who_may_not(admin: ServiceBusAdministrationClient, server: ServiceBusServer) -> None:
    assert admin.get_namespace_properties().messaging_sku == "Standard"
    server.rights.put("sender", "secret", "", {"Send"})
    for key_name, key in (("RootManageSharedAccessKey", "wrong"), ("sender", "secret"), ("unknown", "x")):
        with (
            ServiceBusAdministrationClient.from_connection_string(
                server.connection_string(key_name, key), connection_verify=str(server.certificate), retry_total=0
            ) as other,
            pytest.raises(ClientAuthenticationError),
        ):
            other.create_queue("q")
    assert server.entities.queues() == []


async def test_the_asynchronous_client(server: ServiceBusServer) -> None:
    async with AsyncAdministrationClient.from_connection_string(
        server.connection_string(), connection_verify=str(server.certificate)
    ) as admin:
        await admin.create_topic("t")
        await admin.create_subscription("t", "s", requires_session=True)
        assert (await admin.get_subscription("t", "s")).requires_session
    server.entities.put_rule("t", "s", Rule("more"))
    assert {rule.name for rule in server.entities.rules("t", "s")} == {"$Default", "more"}


def test_a_time_stays_one(admin: ServiceBusAdministrationClient, client: ServiceBusClient) -> None:
    when = datetime.datetime(2026, 5, 1, 12, 30, 15, tzinfo=datetime.UTC)
    admin.create_topic("t")
    parameters = {"@when": when}
    rules = {
        "sql": SqlRuleFilter("at > @when", parameters=parameters),
        "equal": CorrelationRuleFilter(properties={"at": when}),
        "arrived": SqlRuleFilter("sys.EnqueuedTimeUtc > @when AND at IS NULL", parameters=parameters),
    }
    for name, found in rules.items():
        admin.create_subscription("t", name)
        admin.delete_rule("t", name, "$Default")
        admin.create_rule(
            "t", name, "r", filter=found, action=SqlRuleAction("SET copied = @when", parameters=parameters)
        )
        read = admin.get_rule("t", name, "r")
        given = read.filter.parameters if isinstance(found, SqlRuleFilter) else read.filter.properties
        assert list(given.values()) == [when]
    late = when + datetime.timedelta(milliseconds=1)
    with client.get_topic_sender("t") as sender:
        for at in (when, late, None):
            sender.send_messages(ServiceBusMessage("x", application_properties={"at": at} if at else None))
    for name, expected in {"sql": late, "equal": when, "arrived": None}.items():
        with client.get_subscription_receiver("t", name, max_wait_time=10) as receiver:
            (message,) = receiver.receive_messages(1)
            found = message.application_properties
            assert found.get(b"at") == (expected and int(expected.timestamp() * 1000))
            assert found[b"copied"] == int(when.timestamp() * 1000)
