"""Frames and performatives that no client would send: none ends the server, and none leaves a connection behind."""

from __future__ import annotations

import gc
import random
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.localcloud.servicebus.conftest import clock, corpus, no_connections, peers, server

from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import DecodeError, decode, skip

from .scale import CASES, OVER_A_SOCKET, cases

__all__ = ["clock", "corpus", "no_connections", "peers", "server"]

Connect = Callable[[ServiceBusServer], Any]
Gone = Callable[[ServiceBusServer], None]

scalars = st.one_of(
    st.just(e.NULL),
    st.booleans().map(e.boolean),
    st.integers(0, 2**32 - 1).map(e.uint),
    st.integers(0, 2**64 - 1).map(e.ulong),
    st.integers(-(2**63), 2**63 - 1).map(e.long),
    st.integers(0, 255).map(e.ubyte),
    st.floats().map(e.double),
    st.uuids().map(e.uuid),
    st.text(max_size=20).map(e.string),
    st.sampled_from(["q", "s", "$cbs", "q/$management", "amqp:accepted:list"]).map(e.string),
    st.binary(max_size=20).map(e.binary),
    st.binary(max_size=8),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=6).map(e.items),
        st.lists(st.tuples(inner, inner), max_size=4).map(e.mapping),
        st.tuples(st.integers(0x10, 0x80), inner).map(lambda pair: e.described(*pair)),
    ),
    max_leaves=12,
)
performatives = st.tuples(
    st.sampled_from([p.OPEN, p.BEGIN, p.ATTACH, p.FLOW, p.TRANSFER, p.DISPOSITION, p.DETACH, p.END, p.CLOSE, 0x41]),
    st.lists(values, max_size=14).map(e.items),
).map(lambda pair: e.described(*pair))
termini = st.sampled_from(["q", "s", "$cbs", "q/$management", "nowhere", "q/$DeadLetterQueue"]).map(
    lambda address: e.described(p.SOURCE, e.items([e.string(address)]))
)
attaches = st.tuples(st.integers(0, 3), st.booleans(), termini, values).map(
    lambda given: p.performative(
        p.ATTACH,
        [e.string("l"), e.uint(given[0]), e.boolean(given[1]), e.NULL, e.NULL, given[2], given[2], given[3]],
    )
)
transfers = st.tuples(st.integers(0, 3), st.integers(0, 5), st.booleans(), st.lists(values, max_size=4)).map(
    lambda given: (
        p.performative(
            p.TRANSFER, [e.uint(given[0]), e.uint(given[1]), e.binary(b"t"), e.uint(0), e.FALSE, e.boolean(given[2])]
        )
        + b"".join(given[3])
    )
)
frames = st.tuples(
    st.sampled_from([0, 0, 0, 1, 9]),
    st.one_of(performatives, attaches, transfers, values),
    st.sampled_from([0, 0, 0, 1]),
).map(lambda given: p.frame(*given))


def begun() -> bytes:
    opening = p.performative(p.OPEN, [e.string("peer")])
    beginning = p.performative(p.BEGIN, [e.NULL, e.uint(0), e.uint(5000), e.uint(5000)])
    return p.AMQP_HEADER + p.frame(0, opening) + p.frame(0, beginning)


def converse(server: ServiceBusServer, peers: Connect, data: bytes) -> None:
    """Say it all, then hang up, and see that the server hangs up too."""
    peer = peers(server)
    try:
        peer.send(data)
        peer.socket.shutdown(1)
    except OSError:
        pass  # the server had heard enough
    peer.ended()
    peer.close()


def checked(server: ServiceBusServer, no_connections: Gone, caplog: pytest.LogCaptureFixture) -> None:
    no_connections(server)
    assert [record.getMessage() for record in caplog.records if record.levelname in ("ERROR", "CRITICAL")] == []
    caplog.clear()  # or each case would look through those of all before it


@pytest.fixture
def fuzzed(server: ServiceBusServer, caplog: pytest.LogCaptureFixture) -> ServiceBusServer:
    gc.collect()  # what earlier tests left behind says what it has to say now
    caplog.clear()
    server.entities.create_queue("q")
    server.entities.create_queue("s", QueueOptions(requires_session=True))
    return server


# Half of the cases of this face; the other half are its HTTP side's. Making frames up takes longer than saying them:
# each example is said in four ways, and counts as four.
WAYS = 4


@cases(1 / 2 / WAYS, in_suite=OVER_A_SOCKET)
@given(st.lists(frames, max_size=8), st.integers(0, 2_000), st.integers(0, 255))
def test_generated_frames(
    fuzzed: ServiceBusServer,
    peers: Connect,
    no_connections: Gone,
    caplog: pytest.LogCaptureFixture,
    sent: list[bytes],
    at: int,
    byte: int,
) -> None:
    said = b"".join(sent)
    at %= len(said) + 1
    ways = (
        begun() + said,
        p.AMQP_HEADER + said,
        begun() + said[:at] + bytes([byte]) + said[at + 1 :],
        begun() + said[:at],
    )
    assert len(ways) == WAYS
    for way in ways:
        converse(fuzzed, peers, way)
    checked(fuzzed, no_connections, caplog)


def test_the_corpus_and_what_is_near_it(
    fuzzed: ServiceBusServer,
    peers: Connect,
    no_connections: Gone,
    caplog: pytest.LogCaptureFixture,
    corpus: list[bytes],
) -> None:
    assert corpus
    chance = random.Random(5)
    for original in corpus:
        converse(fuzzed, peers, original)
        for _ in range(max(10, CASES // 50)):
            changed = bytearray(original)
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(changed))
                if chance.random() < 0.7:
                    changed[at] = chance.randrange(256)
                else:
                    del changed[at : at + chance.randint(1, 4)]
            converse(fuzzed, peers, bytes(changed))
    checked(fuzzed, no_connections, caplog)


@cases()
@given(st.one_of(values, st.binary(max_size=60)))
def test_decoding_ends_in_a_value_or_a_decode_error(data: bytes) -> None:
    for function in (decode, skip, p.read):
        try:
            function(data, 0) if function is not p.read else p.read(data)
        except DecodeError:
            continue


def test_a_frame_in_single_bytes_is_the_same_frame(fuzzed: ServiceBusServer, peers: Connect) -> None:
    peer = peers(fuzzed)
    for byte in begun() + p.frame(0, b"") + p.frame(0, p.performative(p.CLOSE, [])):
        peer.send(struct.pack("B", byte))
    peer.exactly(8)
    assert [peer.frame()[0] for _ in range(3)] == [p.OPEN, p.BEGIN, p.CLOSE]
    assert peer.ended() == b""
