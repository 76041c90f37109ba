"""Where Pub/Sub is looked for, and by whom: addresses that are none, proxies, forks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

import polybus
from polybus.binding import Binding, Entity, Kind
from polybus.clock import SystemClock
from polybus.clouds.gcp.driver import driver as make
from polybus.driver import Outgoing, Prepared
from polybus.errors import BindingError
from polybus.localcloud.pubsub.server import PubsubServer
from polybus.localcloud.server import running_in_thread
from polybus.message import Message

TOPIC = "projects/p/topics/orders"
ORDERS = Entity(kind=Kind.TOPIC, name="orders", address=TOPIC)


@pytest.fixture
def server() -> Iterator[PubsubServer]:
    with running_in_thread(PubsubServer()) as server:
        yield server


WRONG = [
    "http://127.0.0.1:8085",
    "127.0.0.1:8085/",
    "127.0.0.1",
    "127.0.0.1:",
    ":8085",
    "127.0.0.1:0",
    "127.0.0.1:65536",
    "127.0.0.1:port",
    "unix:/tmp/pubsub",
    "::1:8085",
    "a b:1",
    "-:1",
    "host:1\n",
]


@pytest.mark.parametrize("address", WRONG)
def test_what_is_no_address_is_refused_where_it_is_named(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BindingError, match=r"the binding's setting 'endpoint' is .*HOST:PORT"):
        make(Binding(backend="gcp", bus="b", settings={"endpoint": address}), SystemClock())
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", address)
    with pytest.raises(BindingError, match=r"PUBSUB_EMULATOR_HOST is .*HOST:PORT"):
        make(Binding(backend="gcp", bus="b"), SystemClock())


@pytest.mark.parametrize("address", ["127.0.0.1:8085", "localhost:1", "[::1]:8085", "pubsub_1:8085", "a.b-c.d:65535"])
def test_what_is_an_address_is_taken(address: str) -> None:
    make(Binding(backend="gcp", bus="b", settings={"endpoint": address}), SystemClock())


@pytest.mark.parametrize(
    "address", ["us-east1-pubsub.googleapis.com", "us-east1-pubsub.googleapis.com:443", "10.0.0.1"]
)
def test_an_endpoint_of_google_s_may_leave_its_port_out(address: str) -> None:
    make(Binding(backend="gcp", bus="b", settings={"api_endpoint": address}), SystemClock())
    with pytest.raises(BindingError, match=r"'api_endpoint' is .*HOST or HOST:PORT"):
        make(Binding(backend="gcp", bus="b", settings={"api_endpoint": f"https://{address}"}), SystemClock())


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_loopback_is_reached_by_no_proxy(
    host: str, server: PubsubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    driver = make(Binding(backend="gcp", bus="b", settings={"endpoint": f"{host}:{server.port}"}), SystemClock())
    client, _ = driver.raw(ORDERS)  # type: ignore[misc]
    await client.create_topic(name=TOPIC)
    publisher = await driver.open_publisher(ORDERS)
    prepared = publisher.prepare(Outgoing(Message(b"x", {}, None, "id")))
    assert isinstance(prepared, Prepared)
    [sent] = await publisher.publish_batch([prepared])
    assert isinstance(sent, polybus.Sent)
    await driver.aclose()


FORKING = """
import os, sys
import polybus

def child(what):
    pid = os.fork()
    if pid == 0:
        try:
            with polybus.sync.connect(sys.argv[1]) as bus:
                print(what, bus.ping(), flush=True)
        except polybus.PolybusError as error:
            print(what, type(error).__name__, str(error)[:60], flush=True)
        os._exit(0)
    print(what, "ended", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

child("before")
with polybus.sync.connect(sys.argv[1]) as bus:
    bus.ping()
    child("while")
    bus.ping()
child("after")
"""


def test_a_child_of_a_connected_process_is_refused_and_doesn_t_crash(server: PubsubServer) -> None:
    binding = Binding(
        backend="gcp", bus="b", topics={"orders": ORDERS}, settings={"endpoint": f"{server.host}:{server.port}"}
    )
    environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}
    done = subprocess.run(
        [sys.executable, "-c", FORKING, binding.to_json()],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    refused = "while BindingError this process was forked while its parent was connected to Pu"
    assert done.stdout.splitlines() == [
        "before None",
        "before ended 0",
        refused,
        "while ended 0",
        "after None",
        "after ended 0",
    ]
