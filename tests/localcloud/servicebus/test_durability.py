"""What was accepted survives a kill -9, in a server of its own process."""

from __future__ import annotations

import contextlib
import datetime
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, ServiceBusMessageState
from azure.servicebus.management import ServiceBusAdministrationClient, SqlRuleFilter

from polybus.localcloud.server import free_port
from polybus.localcloud.servicebus import ServiceBusServer

WAIT = 10
# The library leaves a socket that broke to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@contextlib.contextmanager
def serving(data: Path, port: int) -> Iterator[str]:
    """Run a server until the block ends, then kill it; yield its connection string."""
    command = [sys.executable, "-m", "polybus.localcloud.run", "azure", "--port", str(port), "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().split() == ["ready", "127.0.0.1", str(port)]
            yield ServiceBusServer(port=port).connection_string()
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            gc.collect()


def set_up(admin: ServiceBusAdministrationClient) -> None:
    admin.create_queue("q", requires_duplicate_detection=True, max_delivery_count=5)
    admin.create_queue("s", requires_session=True)
    admin.create_topic("t")
    admin.create_subscription("t", "eu")
    admin.create_rule("t", "eu", "only", filter=SqlRuleFilter("region = 'eu'"))
    admin.delete_rule("t", "eu", "$Default")


def test_nothing_that_was_accepted_is_lost(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, port) as where:
        with ServiceBusAdministrationClient.from_connection_string(
            where, connection_verify=str(tmp_path / "servicebus-ca.pem")
        ) as admin:
            set_up(admin)
        client = ServiceBusClient.from_connection_string(where, retry_total=0)
        with client.get_queue_sender("q") as sender, client.get_queue_receiver("q", max_wait_time=WAIT) as receiver:
            for name in ("done", "tried", "deferred", "letter", "locked", "waiting"):
                sender.send_messages(ServiceBusMessage(name, message_id=name))
            when = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
            sender.schedule_messages(ServiceBusMessage("scheduled"), when)
            found = {str(m): m for _ in range(5) for m in receiver.receive_messages(1)}
            receiver.complete_message(found["done"])
            receiver.defer_message(found["deferred"])
            receiver.dead_letter_message(found["letter"], reason="why")
            receiver.abandon_message(found["tried"])
            (again,) = receiver.receive_messages(1)
            assert str(again) == "tried"
        with client.get_queue_sender("s") as sender:
            sender.send_messages(ServiceBusMessage("in session", session_id="A"))
        with client.get_queue_receiver("s", session_id="A") as receiver:
            receiver.session.set_state(b"half done")
        client.close()

    with serving(tmp_path, port) as where, ServiceBusClient.from_connection_string(where, retry_total=0) as client:
        with client.get_queue_sender("q") as sender, client.get_queue_receiver("q", max_wait_time=WAIT) as receiver:
            sender.send_messages(ServiceBusMessage("again", message_id="done"))
            sender.send_messages(ServiceBusMessage("new", message_id="new"))
            peeked = {str(m): (m.sequence_number, m.state, m.delivery_count) for m in receiver.peek_messages(20)}
            active, deferred = ServiceBusMessageState.ACTIVE, ServiceBusMessageState.DEFERRED
            assert peeked == {
                "tried": (2, active, 1),
                "deferred": (3, deferred, 1),
                "locked": (5, active, 0),
                "waiting": (6, active, 0),
                "scheduled": (7, ServiceBusMessageState.SCHEDULED, 0),
                "new": (8, active, 0),
            }
            receiver.complete_message(receiver.receive_deferred_messages([3])[0])
        with client.get_queue_receiver("q", sub_queue="deadletter", max_wait_time=WAIT) as receiver:
            assert receiver.receive_messages(1)[0].dead_letter_reason == "why"
        with client.get_queue_receiver("s", session_id="A", max_wait_time=WAIT) as receiver:
            assert bytes(receiver.session.get_state()) == b"half done"
            assert str(receiver.receive_messages(1)[0]) == "in session"
        with client.get_topic_sender("t") as sender:
            for region in ("us", "eu"):
                sender.send_messages(ServiceBusMessage(region, application_properties={"region": region}))
        with client.get_subscription_receiver("t", "eu", max_wait_time=WAIT) as receiver:
            assert str(receiver.receive_messages(1)[0]) == "eu"
