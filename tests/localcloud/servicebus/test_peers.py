"""Peers that are slow, silent, half open or wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage

from polybus.clock import SteppedClock
from polybus.localcloud.server import running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.sections import DATA

Connect = Callable[[ServiceBusServer], Any]
Gone = Callable[[ServiceBusServer], None]


@pytest.fixture
def impatient(clock: SteppedClock) -> Iterator[ServiceBusServer]:
    with running_in_thread(ServiceBusServer(clock=clock, idle_timeout=0.4, handshake_timeout=0.4)) as server:
        server.entities.create_queue("q", QueueOptions())
        yield server


def fill(server: ServiceBusServer, count: int, body: bytes = b"x") -> None:
    with (
        ServiceBusClient.from_connection_string(server.connection_string()) as client,
        client.get_queue_sender("q") as sender,
    ):
        for _ in range(count):
            sender.send_messages(ServiceBusMessage(body))


@pytest.mark.parametrize("said", [b"", b"A", b"AMQP", p.AMQP_HEADER, p.SASL_HEADER, b"\x16", b"\x16\x03\x01\x02\x00"])
def test_who_does_not_open_is_cut_off(
    impatient: ServiceBusServer, peers: Connect, no_connections: Gone, said: bytes
) -> None:
    peer = peers(impatient)
    peer.send(said)
    peer.ended()
    no_connections(impatient)


def test_who_falls_silent_is_cut_off(impatient: ServiceBusServer, peers: Connect, no_connections: Gone) -> None:
    peer = peers(impatient)
    peer.open()
    peer.attach("in", 0, "q", receives=False)
    peer.ended()
    no_connections(impatient)


def test_who_does_not_read_is_cut_off(impatient: ServiceBusServer, peers: Connect, no_connections: Gone) -> None:
    fill(impatient, 60, b"x" * 200_000)
    peer = peers(impatient)
    peer.open()
    peer.attach("out", 0, "q", receives=True)
    peer.credit(0, 1000)
    no_connections(impatient)
    assert impatient.entities.counts("q").active > 0


def test_a_live_peer_is_kept_and_hears_from_us(server: ServiceBusServer, peers: Connect) -> None:
    peer = peers(server)
    peer.open(idle=400)
    assert peer.exactly(8) == p.frame(0, b"")
    assert peer.exactly(8) == p.frame(0, b"")
    assert server.connections == 1


@pytest.mark.parametrize("receives", [False, True])
def test_a_link_that_nothing_moves_on_is_detached_and_may_come_back(peers: Connect, receives: bool) -> None:
    with running_in_thread(ServiceBusServer(link_idle=0.4)) as server:
        server.entities.create_queue("q")
        peer = peers(server)
        peer.open()
        peer.attach("replies", 1, "$cbs", receives=True)
        for _ in range(2):
            peer.attach("idle", 0, "q", receives=receives)
            if receives:
                peer.credit(0, 10)
            code, fields, _ = peer.frame()
            assert (code, fields[0], fields[2].value[0]) == (p.DETACH, 0, "amqp:link:detach-forced")
            peer.send(p.frame(0, p.performative(p.DETACH, [e.uint(0), e.TRUE])))
        assert server.connections == 1


def flow(**given: bytes) -> bytes:
    names = ("next_in", "window_in", "next_out", "window_out", "handle")
    return p.performative(p.FLOW, [given.get(name, e.uint(1)) for name in names])


WRONG = {
    "frame too large": struct.pack(">IBBH", 70_000, 2, 0, 0) + b"x" * 69_992,
    "frame too small": struct.pack(">IBBH", 4, 2, 0, 0),
    "offset beyond the frame": struct.pack(">IBBH", 12, 9, 0, 0) + b"\0\0\0\0",
    "offset inside the header": struct.pack(">IBBH", 12, 1, 0, 0) + b"\0\0\0\0",
    "no performative": p.frame(0, b"\xa1\x01x"),
    "unknown performative": p.frame(0, e.described(0x99, e.items([]))),
    "value cut off": p.frame(0, b"\x00\x53\x12\xc0\xff"),
    "billions of elements": p.frame(0, b"\x00\x53\x12\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40"),
    "nested without end": p.frame(0, b"\x00" * 30_000),
    "list as a key": p.frame(0, e.described(p.OPEN, e.items([b"\xc1\x04\x02\x45\x40\x40"]))),
    "no mandatory field": p.frame(0, e.described(p.ATTACH, e.items([e.string("x")]))),
    "text for a number": p.frame(0, flow(window_in=e.string("x"))),
    "negative number": p.frame(0, flow(window_in=e.long(-1))),
    "boolean for a number": p.frame(0, flow(window_in=e.TRUE)),
    "unknown handle": p.frame(0, flow(handle=e.uint(99))),
    "unknown channel": p.frame(7, flow()),
    "second open": p.frame(0, p.performative(p.OPEN, [e.string("x")])),
    "second begin": p.frame(0, p.performative(p.BEGIN, [e.NULL, e.uint(0), e.uint(1), e.uint(1)])),
    "SASL now": p.frame(0, e.described(p.SASL_INIT, e.items([e.symbol("ANONYMOUS")])), 1),
    "header now": p.AMQP_HEADER,
    "not UTF-8": p.frame(0, e.described(p.OPEN, e.items([b"\xa1\x01\xff"]))),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
def test_what_is_malformed_ends_its_own_connection(
    server: ServiceBusServer, peers: Connect, no_connections: Gone, caplog: pytest.LogCaptureFixture, wrong: bytes
) -> None:
    bystander = peers(server)
    bystander.open()
    peer = peers(server)
    peer.open()
    peer.send(wrong)
    code, fields, _ = peer.frame() if wrong != p.AMQP_HEADER else skip_header(peer)
    assert code == p.CLOSE
    assert fields[0].value[0].startswith("amqp:")
    assert peer.ended() == b""
    assert server.connections == 1
    bystander.send(p.frame(0, p.performative(p.CLOSE, [])))
    assert bystander.frame()[0] == p.CLOSE
    no_connections(server)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def skip_header(peer: Any) -> tuple[int, list[Any], bytes]:
    peer.exactly(8)
    return peer.frame()


@pytest.mark.parametrize(
    "payload",
    [b"", b"junk", b"\x00\x53", e.described(DATA, b"\xa0\xff"), e.described(0x99, e.NULL)],
)
def test_a_malformed_message_is_rejected_alone(server: ServiceBusServer, peers: Connect, payload: bytes) -> None:
    server.entities.create_queue("q")
    peer = peers(server)
    peer.open()
    peer.attach("in", 0, "q", receives=False)
    good = e.described(DATA, e.binary(b"x"))
    for number, content in enumerate((payload, good)):
        head = [e.uint(0), e.uint(number), e.binary(b"t"), e.uint(0), e.FALSE, e.FALSE]
        peer.send(p.frame(0, p.performative(p.TRANSFER, head) + content))
    outcomes = [peer.frame()[1][4].descriptor for _ in range(2)]
    assert outcomes == [p.STATE_REJECTED, p.STATE_ACCEPTED]
    assert server.entities.counts("q").active == 1


def test_a_batch_is_accepted_whole_or_not_at_all(server: ServiceBusServer, peers: Connect) -> None:
    server.entities.create_queue("q", QueueOptions(requires_session=True))
    peer = peers(server)
    peer.open()
    peer.attach("in", 0, "q", receives=False)
    good = e.described(0x73, e.items([e.NULL] * 10 + [e.string("A")])) + e.described(DATA, e.binary(b"x"))
    bad = e.described(DATA, e.binary(b"x"))
    content = b"".join(e.described(DATA, e.binary(message)) for message in (good, bad))
    head = [e.uint(0), e.uint(0), e.binary(b"t"), e.uint(0x80013700), e.FALSE, e.FALSE]
    peer.send(p.frame(0, p.performative(p.TRANSFER, head) + content))
    assert peer.frame()[1][4].descriptor == p.STATE_REJECTED
    assert server.entities.counts("q").active == 0


def test_credit_and_drain_are_honoured(server: ServiceBusServer, peers: Connect) -> None:
    server.entities.create_queue("q")
    fill(server, 5)
    peer = peers(server)
    peer.open()
    peer.attach("out", 0, "q", receives=True)
    peer.credit(0, 2)
    assert [peer.frame()[0], peer.frame()[0]] == [p.TRANSFER, p.TRANSFER]
    window = [e.uint(2), e.uint(5000), e.uint(0), e.uint(5000), e.uint(0), e.uint(2), e.uint(10), e.NULL, e.TRUE]
    peer.send(p.frame(0, p.performative(p.FLOW, window)))
    assert [peer.frame()[0] for _ in range(3)] == [p.TRANSFER] * 3
    code, fields, _ = peer.frame()
    assert (code, fields[5], fields[6], fields[8]) == (p.FLOW, 12, 0, True)


def test_the_session_window_is_honoured(server: ServiceBusServer, peers: Connect) -> None:
    server.entities.create_queue("q")
    fill(server, 5)
    peer = peers(server)
    peer.open()
    peer.attach("out", 0, "q", receives=True)
    narrow = [e.uint(0), e.uint(1), e.uint(0), e.uint(5000), e.uint(0), e.uint(0), e.uint(10)]
    peer.send(p.frame(0, p.performative(p.FLOW, narrow)))
    assert peer.frame()[0] == p.TRANSFER
    wide = [e.uint(1), e.uint(50), e.uint(0), e.uint(5000), e.NULL, e.NULL, e.NULL, e.NULL, e.NULL, e.TRUE]
    peer.send(p.frame(0, p.performative(p.FLOW, wide)))
    assert [peer.frame()[0] for _ in range(5)] == [p.TRANSFER] * 4 + [p.FLOW]


def request(token: str) -> bytes:
    named = {"operation": "put-token", "type": "jwt", "name": "sb://localhost/q"}
    pairs = [(e.string(name), e.string(value)) for name, value in named.items()]
    return (
        e.described(0x73, e.items([e.ulong(7)]))
        + e.described(0x74, e.mapping(pairs))
        + e.described(0x77, e.string(token))
    )


def test_a_refused_token_closes_the_entity_to_its_connection(server: ServiceBusServer, peers: Connect) -> None:
    server.entities.create_queue("q")
    peer = peers(server)
    peer.open()
    peer.attach("replies", 0, "$cbs", receives=True)
    peer.attach("requests", 1, "$cbs", receives=False)
    peer.credit(0, 10)
    signed = "SharedAccessSignature sr=x&sig=bad&se=99999999999&skn=RootManageSharedAccessKey"
    head = [e.uint(1), e.uint(0), e.binary(b"t"), e.uint(0), e.TRUE, e.FALSE]
    peer.send(p.frame(0, p.performative(p.TRANSFER, head) + request(signed)))
    code, _, payload = peer.frame()
    assert code == p.TRANSFER
    assert b"InvalidSignature" in payload
    peer.attach("in", 2, "q", receives=True)
    code, fields, _ = peer.frame()
    assert (code, fields[2].value[0]) == (p.DETACH, "amqp:unauthorized-access")
