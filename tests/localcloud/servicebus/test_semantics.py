"""What the service means beyond sending and receiving, through the library."""

from __future__ import annotations

import datetime
import gc
import threading
from collections.abc import Callable, Iterator

import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusReceivedMessage,
    ServiceBusSubQueue,
)
from azure.servicebus.amqp import AmqpAnnotatedMessage, AmqpMessageBodyType
from azure.servicebus.exceptions import (
    MessageAlreadySettled,
    MessageNotFoundError,
    MessagingEntityDisabledError,
    OperationTimeoutError,
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusConnectionError,
    ServiceBusError,
    ServiceBusServerBusyError,
    SessionCannotBeLockedError,
)

from polybus.clock import SteppedClock
from polybus.localcloud.servicebus import (
    QueueOptions,
    Rule,
    ServiceBusServer,
    SqlFilter,
    SubscriptionOptions,
    TopicOptions,
)

Queues = Callable[..., str]
# The library leaves a socket that broke to the garbage collector: such a test collects it itself.
breaks_sockets = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
WAIT = 10
NOTHING = 0.5


def send(client: ServiceBusClient, name: str, *messages: ServiceBusMessage) -> None:
    with client.get_queue_sender(name) as sender:
        for message in messages:
            sender.send_messages(message)


def take(client: ServiceBusClient, name: str, **where: object) -> Iterator[ServiceBusReceivedMessage]:
    """Yield and complete what is there now."""
    with client.get_queue_receiver(name, max_wait_time=NOTHING, **where) as receiver:
        for message in receiver:
            yield message
            receiver.complete_message(message)


def letters(client: ServiceBusClient, name: str) -> list[ServiceBusReceivedMessage]:
    return list(take(client, name, sub_queue=ServiceBusSubQueue.DEAD_LETTER))


def test_expired_messages_are_dropped_or_dead_lettered(
    client: ServiceBusClient, queue: Queues, clock: SteppedClock
) -> None:
    dropping, keeping = queue(), queue(dead_letter_on_expiry=True, default_ttl=60.0)
    for name in (dropping, keeping):
        send(client, name, ServiceBusMessage("old", time_to_live=datetime.timedelta(hours=1)))
    clock.advance(61)
    assert [str(message) for message in take(client, dropping)] == ["old"]
    assert list(take(client, keeping)) == []
    (letter,) = letters(client, keeping)
    assert (str(letter), letter.dead_letter_reason) == ("old", "TTLExpiredException")
    send(client, dropping, ServiceBusMessage("old", time_to_live=datetime.timedelta(hours=1)))
    clock.advance(3601)
    assert list(take(client, dropping)) == letters(client, dropping) == []


def test_duplicates_are_dropped_within_the_window(client: ServiceBusClient, queue: Queues, clock: SteppedClock) -> None:
    name = queue(detects_duplicates=True, duplicate_window=60.0)
    send(client, name, *(ServiceBusMessage(body, message_id="same") for body in ("one", "two")))
    assert [str(message) for message in take(client, name)] == ["one"]
    clock.advance(61)
    send(client, name, ServiceBusMessage("three", message_id="same"))
    assert [str(message) for message in take(client, name)] == ["three"]


def test_forwarding_ends_after_four_hops(client: ServiceBusClient, server: ServiceBusServer) -> None:
    for number in range(6):
        server.entities.create_queue(
            f"hop{number}", QueueOptions(forward_to=f"hop{number + 1}" if number < 5 else None)
        )
    send(client, "hop1", ServiceBusMessage("near"))
    (arrived,) = take(client, "hop5")
    assert (str(arrived), arrived.enqueued_sequence_number) == ("near", 1)
    send(client, "hop0", ServiceBusMessage("far"))
    assert list(take(client, "hop5")) == []
    assert server.entities.counts("hop4").transfer_dead_letter == 1
    where = {"sub_queue": ServiceBusSubQueue.TRANSFER_DEAD_LETTER}
    (lost,) = take(client, "hop4", **where)
    assert lost.dead_letter_reason == "MaxTransferHopCountExceeded"


def test_dead_letters_are_forwarded_with_their_source(client: ServiceBusClient, queue: Queues) -> None:
    graveyard = queue()
    name = queue(forward_dead_letters_to=graveyard, max_delivery_count=1)
    send(client, name, ServiceBusMessage("x"))
    with client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        receiver.abandon_message(receiver.receive_messages(1)[0])
    (letter,) = take(client, graveyard)
    assert (letter.dead_letter_source, letter.dead_letter_reason) == (name, "MaxDeliveryCountExceeded")


def test_topics_copy_what_rules_select(client: ServiceBusClient, server: ServiceBusServer, clock: SteppedClock) -> None:
    server.entities.create_topic("t", TopicOptions(detects_duplicates=True))
    some = [Rule("eu", SqlFilter("region = 'eu'")), Rule("big", SqlFilter("n > 5"))]
    acting = [*some, Rule("marked", SqlFilter("region = 'eu'"), "SET marked = 'yes'")]
    for name, rules in (("all", None), ("some", some), ("acting", acting), ("none", [])):
        server.entities.create_subscription("t", name, SubscriptionOptions(), rules)
    with client.get_topic_sender("t") as sender:
        sender.send_messages(ServiceBusMessage("a", application_properties={"region": "eu", "n": 9}, message_id="1"))
        sender.send_messages(ServiceBusMessage("a", application_properties={"region": "eu", "n": 9}, message_id="1"))
        sender.send_messages(ServiceBusMessage("b", application_properties={"region": "us", "n": 1}, message_id="2"))
        when = datetime.datetime.fromtimestamp(clock.time() + 100, datetime.UTC)
        first, _ = sender.schedule_messages([ServiceBusMessage("never"), ServiceBusMessage("later")], when)
        sender.cancel_scheduled_messages(first)
    clock.advance(101)

    def received(subscription: str) -> list[tuple[str, bool]]:
        found = []
        with client.get_subscription_receiver("t", subscription, max_wait_time=NOTHING) as receiver:
            for message in receiver:
                found.append((str(message), b"marked" in (message.application_properties or {})))
                receiver.complete_message(message)
        return sorted(found)

    assert received("all") == [("a", False), ("b", False), ("later", False)]
    assert received("some") == [("a", False)]
    assert received("acting") == [("a", False), ("a", True)]
    assert received("none") == []


def test_filter_errors_become_dead_letters_where_asked(client: ServiceBusClient, server: ServiceBusServer) -> None:
    server.entities.create_topic("t")
    rules = [Rule("r", SqlFilter("n > 5"))]
    for name, kept in (("keeping", True), ("dropping", False)):
        server.entities.create_subscription("t", name, SubscriptionOptions(dead_letter_on_filter_error=kept), rules)
    with client.get_topic_sender("t") as sender:
        sender.send_messages(ServiceBusMessage("x", application_properties={"n": "text"}))
    assert server.entities.counts("t/Subscriptions/keeping").dead_letter == 1
    assert server.entities.counts("t/Subscriptions/dropping").dead_letter == 0


def test_a_session_is_with_one_receiver(client: ServiceBusClient, queue: Queues, clock: SteppedClock) -> None:
    name = queue(requires_session=True)
    send(client, name, ServiceBusMessage("one", session_id="A"), ServiceBusMessage("two", session_id="A"))
    with client.get_queue_receiver(name, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT) as receiver:
        (message,) = receiver.receive_messages(1)
        with pytest.raises(SessionCannotBeLockedError), client.get_queue_receiver(name, session_id="A"):
            raise AssertionError("two receivers have one session")
        with (
            pytest.raises(OperationTimeoutError),
            client.get_queue_receiver(name, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=1),
        ):
            raise AssertionError("there is no other session")
        receiver.abandon_message(message)
        (message,) = receiver.receive_messages(1)
        assert (str(message), message.delivery_count) == ("one", 1)
    with client.get_queue_receiver(name, session_id="A", max_wait_time=WAIT) as receiver:
        (message,) = receiver.receive_messages(1)
        assert (str(message), message.delivery_count) == ("one", 1)  # closing is no failed delivery
        receiver.complete_message(message)


def test_a_waiting_receiver_gets_the_next_session(client: ServiceBusClient, queue: Queues) -> None:
    name = queue(requires_session=True)
    found: list[str] = []

    def wait() -> None:
        with client.get_queue_receiver(name, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT) as receiver:
            found.append(receiver.session.session_id)

    waiting = threading.Thread(target=wait)
    waiting.start()
    send(client, name, ServiceBusMessage("one", session_id="late"))
    waiting.join(timeout=30)
    assert found == ["late"]


def test_session_and_plain_receivers_keep_to_their_entities(client: ServiceBusClient, queue: Queues) -> None:
    with pytest.raises(ServiceBusError), client.get_queue_receiver(queue(requires_session=True)) as receiver:
        receiver.receive_messages(1, max_wait_time=1)
    with pytest.raises(ServiceBusError), client.get_queue_receiver(queue(), session_id="A") as receiver:
        receiver.receive_messages(1, max_wait_time=1)


def test_consumers_compete_and_a_closed_one_keeps_its_locks(
    client: ServiceBusClient, queue: Queues, clock: SteppedClock
) -> None:
    name = queue(lock_duration=60.0)
    send(client, name, ServiceBusMessage("one"))
    with client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        receiver.receive_messages(1)
    assert list(take(client, name)) == []
    clock.advance(61)
    (message,) = take(client, name)
    assert message.delivery_count == 1


def test_settling_twice_and_asking_for_what_is_not_there(client: ServiceBusClient, queue: Queues) -> None:
    name = queue()
    send(client, name, ServiceBusMessage("one"))
    with client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        (message,) = receiver.receive_messages(1)
        with pytest.raises(MessageNotFoundError):
            receiver.receive_deferred_messages([message.sequence_number])
        receiver.complete_message(message)
        with pytest.raises(MessageAlreadySettled):
            receiver.complete_message(message)


def test_unknown_entities_keys_and_rights(client: ServiceBusClient, queue: Queues, server: ServiceBusServer) -> None:
    name = queue()
    with pytest.raises(ServiceBusAuthenticationError):
        send(client, "nowhere", ServiceBusMessage("x"))
    wrong = server.connection_string(key="wrong")
    with (
        ServiceBusClient.from_connection_string(wrong, retry_total=0) as other,
        pytest.raises(ServiceBusAuthenticationError),
    ):
        send(other, name, ServiceBusMessage("x"))
    server.rights.put("sender", "secret", name, {"Send"})
    with ServiceBusClient.from_connection_string(server.connection_string("sender", "secret"), retry_total=0) as other:
        send(other, name, ServiceBusMessage("x"))
        with pytest.raises(ServiceBusAuthorizationError), other.get_queue_receiver(name) as receiver:
            receiver.receive_messages(1, max_wait_time=1)
    assert server.entities.counts(name).active == 1


def test_a_disabled_entity_says_so(client: ServiceBusClient, queue: Queues) -> None:
    with pytest.raises(MessagingEntityDisabledError):
        send(client, queue(status="Disabled"), ServiceBusMessage("x"))


def test_faults_fail_as_often_as_asked(client: ServiceBusClient, queue: Queues, server: ServiceBusServer) -> None:
    name = queue()
    server.fail_next("send", "com.microsoft:server-busy", 1, entity=name)
    with client.get_queue_sender(name) as sender:
        with pytest.raises(ServiceBusServerBusyError):
            sender.send_messages(ServiceBusMessage("x"))
        sender.send_messages(ServiceBusMessage("y"))
    assert [str(message) for message in take(client, name)] == ["y"]


@breaks_sockets
def test_a_cut_before_the_answer_leaves_the_message(
    client: ServiceBusClient, queue: Queues, server: ServiceBusServer
) -> None:
    name = queue()
    server.cut_next("send")
    with pytest.raises((ServiceBusConnectionError, ServiceBusError)):
        send(client, name, ServiceBusMessage("x"))
    assert server.entities.counts(name).active == 1
    gc.collect()


@breaks_sockets
def test_cut_connections_are_replaced(client: ServiceBusClient, queue: Queues, server: ServiceBusServer) -> None:
    name = queue()
    with (
        ServiceBusClient.from_connection_string(server.connection_string()) as patient,
        patient.get_queue_sender(name) as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"))
        server.cut_connections()
        sender.send_messages(ServiceBusMessage("y"))
    assert sorted(str(message) for message in take(client, name)) == ["x", "y"]
    gc.collect()


def test_a_deleted_entity_ends_its_links(client: ServiceBusClient, queue: Queues, server: ServiceBusServer) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("x"))
        server.entities.delete(name)
        with pytest.raises(ServiceBusError):
            sender.send_messages(ServiceBusMessage("y"))
    assert name not in server.entities.queues()


def test_a_message_without_a_body_and_delivery_annotations_are_taken(client: ServiceBusClient, queue: Queues) -> None:
    name = queue()
    annotated = AmqpAnnotatedMessage(data_body=b"x", delivery_annotations={"a": "b"}, footer={"c": "d"})
    send(client, name, ServiceBusMessage(None), annotated)
    empty, received = take(client, name)
    assert (empty.body_type, empty.body) == (AmqpMessageBodyType.VALUE, None)  # as the library has it
    assert b"".join(received.body) == b"x"
    send(client, name, received.raw_amqp_message)  # whose delivery annotations the library writes at the end
    assert [b"".join(message.body) for message in take(client, name)] == [b"x"]


def test_a_batch_may_be_as_large_as_the_tier_says(client: ServiceBusClient, queue: Queues) -> None:
    standard, premium = queue(), queue(max_message_bytes=100 * 1024 * 1024)
    for name, most in ((standard, 256 * 1024), (premium, 1024 * 1024)):
        with client.get_queue_sender(name) as sender:
            assert sender.create_message_batch().max_size_in_bytes == most
    send(client, premium, ServiceBusMessage(b"x" * 2_000_000))  # one message may be larger there


@pytest.mark.parametrize("keys", [{"session_id": "k"}, {}])
def test_a_partitioned_entity_takes_no_batch_of_different_keys(
    client: ServiceBusClient, queue: Queues, keys: dict[str, str]
) -> None:
    name = queue(partitioned=True, detects_duplicates=True, requires_session=bool(keys))
    same = [ServiceBusMessage("x", message_id="same", **keys), ServiceBusMessage("x", message_id="same", **keys)]
    other = {"session_id": "l"} if keys else {}
    with client.get_queue_sender(name) as sender:
        sender.send_messages(same)
        with pytest.raises(ServiceBusError, match="distinct SessionId, PartitionKey, or MessageId"):
            sender.send_messages([same[0], ServiceBusMessage("y", message_id="another", **other)])
