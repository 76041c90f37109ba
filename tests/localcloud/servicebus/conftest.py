"""A server in a thread of its own, on a clock that the test moves, and the library's clients for it."""

from __future__ import annotations

import itertools
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, _servicebus_receiver, _servicebus_sender
from azure.servicebus._pyamqp import client as amqp_client

from polybus.clock import SteppedClock
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.sections import APPLICATION, PROPERTIES, VALUE, section

_numbers = itertools.count(1)


class _ShortSleeps:
    """The module `time`, with sleeps of 20 ms at most."""

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def sleep(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.02))


@pytest.fixture(autouse=True)
def _library_that_sleeps_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing a link waits for the library's keepalive, which sleeps a second at a time, and opening one for polls."""
    for module in (amqp_client, _servicebus_receiver, _servicebus_sender):
        monkeypatch.setattr(module, "time", _ShortSleeps())


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def server(clock: SteppedClock) -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer(clock=clock)) as running:
        yield running


@pytest.fixture
def client(server: ServiceBusServer) -> Iterator[ServiceBusClient]:
    with ServiceBusClient.from_connection_string(server.connection_string(), retry_total=0) as opened:
        yield opened


@pytest.fixture
def queue(server: ServiceBusServer) -> Callable[..., str]:
    """Create a queue of its own with the given options."""

    def create(**options: object) -> str:
        name = f"queue-{next(_numbers)}"
        server.entities.create_queue(name, QueueOptions(**options))  # type: ignore[arg-type]
        return name

    return create


class Peer:
    """The client's end of a connection, byte by byte."""

    BOUND = 20.0  # real seconds after which the server is taken to have missed its turn

    def __init__(self, port: int, certificate: Path | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=self.BOUND)
        self._kept: list[tuple[int, list[Any], bytes]] = []
        if certificate is not None:
            trust = ssl.create_default_context(cafile=str(certificate))
            self.socket = trust.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError(f"the server closed after {len(data)} of {count} bytes")
            data += part
        return data

    def unread(self, frames: list[tuple[int, list[Any], bytes]]) -> None:
        """Have frames read again, before any other."""
        self._kept = [*frames, *self._kept]

    def frame(self) -> tuple[int, list[Any], bytes]:
        """Return (code, fields, payload) of the next frame that isn't empty."""
        if self._kept:
            return self._kept.pop(0)
        while True:
            (size,) = struct.unpack(">I", self.exactly(4))
            body = self.exactly(size - 4)[4:]
            if body:
                code, fields, end = p.read(body)
                return code, fields, body[end:]

    def open(self, *, idle: int | None = None) -> None:
        """Open the connection and a session on channel 0; `idle` is our patience in milliseconds."""
        patience = e.NULL if idle is None else e.uint(idle)
        self.send(
            p.AMQP_HEADER,
            p.frame(0, p.performative(p.OPEN, [e.string("peer"), e.NULL, e.uint(65536), e.ushort(10), patience])),
            p.frame(0, p.performative(p.BEGIN, [e.NULL, e.uint(0), e.uint(5000), e.uint(5000)])),
        )
        assert self.exactly(8) == p.AMQP_HEADER
        assert [self.frame()[0], self.frame()[0]] == [p.OPEN, p.BEGIN]

    def attach(
        self,
        name: str,
        handle: int,
        address: str,
        *,
        receives: bool,
        settled: bool = False,
        filters: bytes = e.NULL,
        initial: int = 0,
    ) -> list[Any]:
        """Attach a link, read the server's answers to it, and return the fields of the first."""
        source = e.described(p.SOURCE, e.items([e.string(address), *[e.NULL] * 6, filters]))
        target = e.described(p.TARGET, e.items([e.string(address)]))
        mode = int(settled) if receives else 2
        head = [e.string(name), e.uint(handle), e.boolean(receives), e.ubyte(mode), e.ubyte(0)]
        tail = [source, target, e.NULL, e.NULL, e.NULL if receives else e.uint(initial)]
        self.send(p.frame(0, p.performative(p.ATTACH, [*head, *tail])))
        code, fields, _ = self.frame()
        assert code == p.ATTACH
        if not receives:
            code, flow, _ = self.frame()
            assert (code, flow[5]) == (p.FLOW, initial)
        return fields

    def deliver(self, handle: int, delivery: int, content: bytes) -> Any:
        """Send a message and return the state that answers it."""
        head = [e.uint(handle), e.uint(delivery), e.binary(b"t"), e.uint(0), e.FALSE, e.FALSE]
        self.send(p.frame(0, p.performative(p.TRANSFER, head) + content))
        code, fields, _ = self.frame()
        assert code == p.DISPOSITION
        return fields[4]

    def settle(self, delivery: int, state: bytes) -> Any:
        """Settle a delivery and return the state that answers it."""
        self.send(p.frame(0, p.performative(p.DISPOSITION, [e.TRUE, e.uint(delivery), e.NULL, e.FALSE, state])))
        code, fields, _ = self.frame()
        assert code == p.DISPOSITION
        return fields[4]

    def request(self, handle: int, operation: str, body: bytes) -> tuple[dict[Any, Any], Any]:
        """Call an operation on a request link; return (application properties, body) of what comes on another."""
        asked = e.mapping([(e.string("operation"), e.string(f"com.microsoft:{operation}"))])
        content = e.described(PROPERTIES, e.items([e.string("1")])) + e.described(APPLICATION, asked)
        head = [e.uint(handle), e.uint(0), e.binary(b"t"), e.uint(0), e.TRUE, e.FALSE]
        self.send(p.frame(0, p.performative(p.TRANSFER, head) + content + e.described(VALUE, body)))
        code, _, payload = self.frame()
        assert code == p.TRANSFER
        return section(payload, APPLICATION), section(payload, VALUE)

    def credit(self, handle: int, credit: int) -> None:
        window = [e.uint(0), e.uint(0x7FFFFFFF), e.uint(0), e.uint(0x7FFFFFFF)]
        self.send(p.frame(0, p.performative(p.FLOW, [*window, e.uint(handle), e.uint(0), e.uint(credit)])))

    def ended(self) -> bytes:
        """Return what the server still sent before it ended the connection."""
        data = b""
        try:
            while part := self.socket.recv(65536):
                data += part
        except ConnectionResetError:
            return data
        return data

    def close(self) -> None:
        self.socket.close()


@pytest.fixture
def peers() -> Iterator[Callable[..., Peer]]:
    """Connect raw peers, that are closed with the test."""
    made: list[Peer] = []

    def connect(server: ServiceBusServer, *, tls: bool = False) -> Peer:
        made.append(Peer(server.port, server.certificate if tls else None))
        return made[-1]

    yield connect
    for peer in made:
        peer.close()


@pytest.fixture
def no_connections() -> Callable[[ServiceBusServer], None]:
    """Wait until a server has no AMQP connection left."""

    def wait(server: ServiceBusServer) -> None:
        end = time.monotonic() + Peer.BOUND
        while server.connections:
            assert time.monotonic() < end, f"{server.connections} connections are left"
            time.sleep(0.005)

    return wait


@pytest.fixture
def corpus() -> list[bytes]:
    """What clients sent: whole conversations, and what once was trouble."""
    return [path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.bin"))]
