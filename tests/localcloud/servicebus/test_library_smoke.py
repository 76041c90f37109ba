"""The unmodified azure-servicebus library, sync and aio, against the server: what every version must find.

Needs only pytest, pytest-asyncio and azure-servicebus beside polybus itself, so that it runs with any version of it.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable

import pytest
from azure.servicebus import (
    NEXT_AVAILABLE_SESSION,
    ServiceBusClient,
    ServiceBusMessage,
    ServiceBusMessageState,
    ServiceBusReceiveMode,
    ServiceBusSubQueue,
)
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import MessageLockLostError, ServiceBusError, SessionLockLostError

from polybus.clock import SteppedClock
from polybus.localcloud.servicebus import ServiceBusServer

Queues = Callable[..., str]
WAIT = 10  # real seconds that a receive may take; it returns as soon as there is something
NOTHING = 0.5  # real seconds after which nothing is taken to come


def later(clock: SteppedClock, seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(clock.time() + seconds, datetime.UTC)


def test_a_message_comes_back_as_it_was_sent(client: ServiceBusClient, queue: Queues) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        sender.send_messages(
            ServiceBusMessage(
                b"\x00\xffone",
                application_properties={"n": 1, "t": "x", "b": True},
                message_id="m1",
                subject="sub",
                correlation_id="c",
                content_type="text/plain",
                reply_to="r",
                to="t",
            )
        )
        (message,) = receiver.receive_messages(1)
        assert b"".join(message.body) == b"\x00\xffone"
        assert message.application_properties == {b"n": 1, b"t": b"x", b"b": True}
        assert (message.message_id, message.subject, message.correlation_id) == ("m1", "sub", "c")
        assert (message.content_type, message.reply_to, message.to) == ("text/plain", "r", "t")
        assert isinstance(message.lock_token, uuid.UUID)
        assert (message.delivery_count, message.sequence_number) == (0, 1)
        receiver.complete_message(message)


def test_renew_abandon_and_dead_letter(client: ServiceBusClient, queue: Queues, clock: SteppedClock) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        sender.send_messages(ServiceBusMessage(b"one"))
        (message,) = receiver.receive_messages(1)
        before = message.locked_until_utc
        clock.advance(10)
        assert receiver.renew_message_lock(message) > before
        receiver.abandon_message(message)
        (message,) = receiver.receive_messages(1)
        assert message.delivery_count == 1
        receiver.dead_letter_message(message, reason="why", error_description="because")
        with client.get_queue_receiver(name, sub_queue=ServiceBusSubQueue.DEAD_LETTER, max_wait_time=WAIT) as letters:
            (letter,) = letters.receive_messages(1)
            assert (letter.dead_letter_reason, letter.dead_letter_error_description) == ("why", "because")
            letters.complete_message(letter)


def test_batches_arrive_in_order(client: ServiceBusClient, queue: Queues, server: ServiceBusServer) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        sender.send_messages([ServiceBusMessage(f"b{n}") for n in range(5)])
        single = sender.create_message_batch()
        single.add_message(ServiceBusMessage("only"))
        sender.send_messages(single)
        got: list[str] = []
        while len(got) < 6:
            for message in receiver.receive_messages(6):
                got.append(str(message))
                receiver.complete_message(message)
        assert got == [*(f"b{n}" for n in range(5)), "only"]
    assert server.entities.counts(name).active == 0


@pytest.mark.parametrize(
    "body", [b"", bytes.fromhex("005375a003616263"), b"x" * 200_000], ids=["empty", "looks-like-a-section", "frames"]
)
def test_any_body_survives(client: ServiceBusClient, queue: Queues, body: bytes) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        sender.send_messages(ServiceBusMessage(body))
        (message,) = receiver.receive_messages(1)
        assert b"".join(message.body) == body
        receiver.complete_message(message)


def test_a_message_over_the_limit_is_refused(client: ServiceBusClient, queue: Queues) -> None:
    with client.get_queue_sender(queue()) as sender, pytest.raises((ServiceBusError, ValueError)):
        sender.send_messages(ServiceBusMessage(b"x" * 300_000))


def test_scheduled_messages_wait_and_can_be_cancelled(
    client: ServiceBusClient, queue: Queues, clock: SteppedClock
) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        first, second = sender.schedule_messages(
            [ServiceBusMessage("later"), ServiceBusMessage("never")], later(clock, 600)
        )
        states = [peeked.state for peeked in receiver.peek_messages(10)]
        assert states == [ServiceBusMessageState.SCHEDULED] * 2
        sender.cancel_scheduled_messages(second)
        assert receiver.receive_messages(1, max_wait_time=NOTHING) == []
        clock.advance(601)
        (message,) = receiver.receive_messages(1)
        assert (message.sequence_number, str(message)) == (first, "later")
        receiver.complete_message(message)


def test_deferred_messages_are_received_by_number(client: ServiceBusClient, queue: Queues) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        sender.send_messages(ServiceBusMessage("set aside"))
        (message,) = receiver.receive_messages(1)
        receiver.defer_message(message)
        assert receiver.receive_messages(1, max_wait_time=NOTHING) == []
        (deferred,) = receiver.receive_deferred_messages([message.sequence_number])
        assert str(deferred) == "set aside"
        receiver.complete_message(deferred)
        assert receiver.peek_messages(1) == []


def test_receive_and_delete(client: ServiceBusClient, queue: Queues, server: ServiceBusServer) -> None:
    name = queue()
    with client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("gone"))
    mode = ServiceBusReceiveMode.RECEIVE_AND_DELETE
    with client.get_queue_receiver(name, receive_mode=mode, max_wait_time=WAIT) as receiver:
        assert [str(message) for message in receiver.receive_messages(1)] == ["gone"]
    assert server.entities.counts(name).active == 0


def test_lock_expiry_raises_the_count_until_it_is_a_dead_letter(
    client: ServiceBusClient, queue: Queues, clock: SteppedClock
) -> None:
    name = queue(lock_duration=30.0, max_delivery_count=3)
    with client.get_queue_sender(name) as sender, client.get_queue_receiver(name, max_wait_time=WAIT) as receiver:
        sender.send_messages(ServiceBusMessage("poison"))
        counts = []
        for _ in range(3):
            (message,) = receiver.receive_messages(1)
            counts.append(message.delivery_count)
            clock.advance(31)
            with pytest.raises(MessageLockLostError):
                receiver.renew_message_lock(message)
        assert counts == [0, 1, 2]
    with client.get_queue_receiver(name, sub_queue=ServiceBusSubQueue.DEAD_LETTER, max_wait_time=WAIT) as letters:
        (letter,) = letters.receive_messages(1)
        assert letter.dead_letter_reason == "MaxDeliveryCountExceeded"
        letters.complete_message(letter)


def test_sessions_are_in_order_and_have_state(client: ServiceBusClient, queue: Queues) -> None:
    name = queue(requires_session=True)
    with client.get_queue_sender(name) as sender:
        sender.send_messages([ServiceBusMessage(f"s{n}", session_id="AB"[n % 2]) for n in range(6)])
        with pytest.raises(ServiceBusError):
            sender.send_messages(ServiceBusMessage("no session"))
    with client.get_queue_receiver(name, session_id="B", max_wait_time=WAIT) as receiver:
        got: list[str] = []
        while len(got) < 3:
            for message in receiver.receive_messages(3):
                got.append(str(message))
                receiver.complete_message(message)
        assert got == ["s1", "s3", "s5"]
        receiver.session.set_state(b"state")
        assert bytes(receiver.session.get_state()) == b"state"
        assert receiver.session.renew_lock() is not None
    with client.get_queue_receiver(name, session_id=NEXT_AVAILABLE_SESSION, max_wait_time=WAIT) as receiver:
        assert receiver.session.session_id == "A"


def test_a_lost_session_lock_is_told(client: ServiceBusClient, queue: Queues, clock: SteppedClock) -> None:
    name = queue(requires_session=True, lock_duration=30.0)
    with client.get_queue_sender(name) as sender:
        sender.send_messages(ServiceBusMessage("one", session_id="A"))
    with client.get_queue_receiver(name, session_id="A", max_wait_time=WAIT) as receiver:
        (message,) = receiver.receive_messages(1)
        clock.advance(31)
        with pytest.raises(SessionLockLostError):
            receiver.session.renew_lock()
    with client.get_queue_receiver(name, session_id="A", max_wait_time=WAIT) as receiver:
        (again,) = receiver.receive_messages(1)
        assert (again.sequence_number, again.delivery_count) == (message.sequence_number, 1)
        receiver.complete_message(again)


async def test_the_asynchronous_client(server: ServiceBusServer, queue: Queues) -> None:
    name = queue()
    async with AsyncClient.from_connection_string(server.connection_string()) as client:
        sender = client.get_queue_sender(name)
        receiver = client.get_queue_receiver(name, max_wait_time=WAIT)
        async with sender, receiver:
            await sender.send_messages([ServiceBusMessage(f"a{n}") for n in range(3)])
            got = []
            while len(got) < 3:
                got += await receiver.receive_messages(3)
            assert [str(message) for message in got] == ["a0", "a1", "a2"]
            await receiver.complete_message(got[0])
            await receiver.abandon_message(got[1])
            await receiver.dead_letter_message(got[2], reason="x")
            (message,) = await receiver.receive_messages(1)
            assert (str(message), message.delivery_count) == ("a1", 1)
            assert await receiver.renew_message_lock(message) is not None
            await receiver.complete_message(message)
    counts = server.entities.counts(name)
    assert (counts.active, counts.dead_letter) == (0, 1)
