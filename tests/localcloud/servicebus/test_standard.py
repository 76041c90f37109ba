"""AMQP 1.0 as the standard has it and as clients of other languages than Python speak it, byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from polybus.clock import SteppedClock
from polybus.localcloud.servicebus import QueueOptions, Rule, ServiceBusServer, SqlFilter
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import Described
from polybus.localcloud.servicebus.amqp.sections import (
    ANNOTATIONS,
    APPLICATION,
    DATA,
    DELIVERY_ANNOTATIONS,
    FOOTER,
    HEADER,
    PROPERTIES,
    SEQUENCE,
    VALUE,
    section,
    sections,
)

Connect = Callable[..., Any]

BODY = e.described(DATA, e.binary(b"x"))
DESCRIBED_SESSION = 0x137000000C


@pytest.fixture
def peer(server: ServiceBusServer, peers: Connect) -> Any:
    opened = peers(server)
    opened.open()
    return opened


def receive(peer: Any, handle: int, credit: int = 1) -> tuple[list[Any], bytes]:
    peer.credit(handle, credit)
    return next_delivery(peer)


def next_delivery(peer: Any) -> tuple[list[Any], bytes]:
    code, fields, payload = peer.frame()
    assert code == p.TRANSFER
    return fields, payload


def named(name: str, value: bytes) -> bytes:
    """A described value under a descriptor that is a name."""
    return b"\x00" + e.symbol(name) + value


# -- deliveries


@pytest.mark.parametrize("settled", [False, True])
def test_every_delivery_has_a_tag(server: ServiceBusServer, peer: Any, settled: bool) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, BODY)
    peer.attach("out", 1, "q", receives=True, settled=settled)
    assert receive(peer, 1)[0][2]


def test_an_answer_has_a_tag(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("replies", 0, "q/$management", receives=True)
    peer.attach("requests", 1, "q/$management", receives=False)
    peer.credit(0, 10)
    for _ in range(2):
        head = [e.uint(1), e.uint(0), e.binary(b"t"), e.uint(0), e.TRUE, e.FALSE]
        peer.send(p.frame(0, p.performative(p.TRANSFER, head) + e.described(VALUE, e.mapping([]))))
    first, second = next_delivery(peer)[0], next_delivery(peer)[0]
    assert first[2] != second[2]


def test_a_sender_s_count_begins_where_it_says(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False, initial=4_000_000_000)


def test_a_link_is_detached_as_it_is_asked(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    for closed in (e.FALSE, e.TRUE):
        peer.attach("in", 0, "q", receives=False)
        peer.send(p.frame(0, p.performative(p.DETACH, [e.uint(0), closed])))
        assert peer.frame()[1][:2] == [0, closed == e.TRUE]


def test_a_flow_without_credit_leaves_it(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("out", 0, "q", receives=True)
    peer.credit(0, 5)
    window = [e.uint(0), e.uint(5000), e.uint(0), e.uint(5000), e.uint(0), e.uint(0), e.NULL, e.NULL, e.NULL, e.TRUE]
    peer.send(p.frame(0, p.performative(p.FLOW, window)))
    code, fields, _ = peer.frame()
    assert (code, fields[6]) == (p.FLOW, 5)


# -- encodings


@pytest.mark.parametrize(
    "wanted", [e.described_by(DESCRIBED_SESSION, e.string("s1")), named("com.microsoft:session-filter", e.string("s1"))]
)
def test_a_session_filter_that_is_described_comes_back_so(server: ServiceBusServer, peer: Any, wanted: bytes) -> None:
    server.entities.create_queue("q", QueueOptions(requires_session=True))
    filters = e.mapping([(e.symbol("com.microsoft:session-filter"), wanted)])
    answer = peer.attach("out", 0, "q", receives=True, filters=filters)
    (found,) = answer[5].value[7].values()
    assert (found.descriptor, found.value) == (DESCRIBED_SESSION, "s1")


def test_a_bare_session_filter_comes_back_bare(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q", QueueOptions(requires_session=True))
    filters = e.mapping([(e.symbol("com.microsoft:session-filter"), e.string("s1"))])
    answer = peer.attach("out", 0, "q", receives=True, filters=filters)
    assert answer[5].value[7] == {"com.microsoft:session-filter": "s1"}


def test_performatives_may_be_described_by_name_and_by_wide_numbers(server: ServiceBusServer, peers: Connect) -> None:
    server.entities.create_queue("q")
    peer = peers(server)
    peer.send(p.AMQP_HEADER, p.frame(0, named("amqp:open:list", e.items([e.string("peer")]))))
    begin = e.items([e.NULL, e.uint(0), e.uint(5000), e.uint(5000)])
    peer.send(p.frame(0, b"\x00\x80" + p.BEGIN.to_bytes(8) + begin))
    assert peer.exactly(8) == p.AMQP_HEADER
    assert [peer.frame()[0], peer.frame()[0]] == [p.OPEN, p.BEGIN]
    source = named("amqp:source:list", e.items([e.string("q")]))
    target = b"\x00\x80" + p.TARGET.to_bytes(8) + e.items([e.string("q")])
    head = [e.string("in"), e.uint(0), e.FALSE, e.NULL, e.NULL, source, target, e.NULL, e.NULL, e.uint(0)]
    peer.send(p.frame(0, b"\x00\x80" + p.ATTACH.to_bytes(8) + e.items(head)))
    assert [peer.frame()[0], peer.frame()[0]] == [p.ATTACH, p.FLOW]


SECTIONS = {
    HEADER: ("amqp:header:list", e.items([e.TRUE])),
    DELIVERY_ANNOTATIONS: ("amqp:delivery-annotations:map", e.mapping([(e.symbol("x"), e.uint(1))])),
    ANNOTATIONS: ("amqp:message-annotations:map", e.mapping([(e.symbol("x-mine"), e.uint(1))])),
    PROPERTIES: ("amqp:properties:list", e.items([e.string("m1")])),
    APPLICATION: ("amqp:application-properties:map", e.mapping([(e.string("n"), e.uint(7))])),
    FOOTER: ("amqp:footer:map", e.mapping([(e.symbol("crc"), e.uint(9))])),
}
BODIES = {
    "value": (VALUE, ("amqp:amqp-value:*", e.mapping([(e.string("a"), e.uint(1))]))),
    "null": (VALUE, ("amqp:amqp-value:*", e.NULL)),
    "sequence": (SEQUENCE, ("amqp:amqp-sequence:list", e.items([e.uint(1), e.string("b")]))),
    "data": (DATA, ("amqp:data:binary", e.binary(b"x"))),
}


def by_number(code: int, content: tuple[str, bytes]) -> bytes:
    return e.described(code, content[1])


def by_wide_number(code: int, content: tuple[str, bytes]) -> bytes:
    return b"\x00\x80" + code.to_bytes(8) + content[1]


def by_name(code: int, content: tuple[str, bytes]) -> bytes:
    return named(*content)


@pytest.mark.parametrize("describe", [by_number, by_wide_number, by_name])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("backwards", [False, True])
def test_a_message_comes_back_as_it_was_sent(
    server: ServiceBusServer,
    peer: Any,
    describe: Callable[[int, tuple[str, bytes]], bytes],
    body: tuple[int, tuple[str, bytes]],
    backwards: bool,
) -> None:
    server.entities.create_queue("q")
    given = sorted([*SECTIONS.items(), body], reverse=backwards)
    peer.attach("in", 0, "q", receives=False)
    assert peer.deliver(0, 0, b"".join(describe(*one) for one in given)).descriptor == p.STATE_ACCEPTED
    peer.attach("out", 1, "q", receives=True)
    _, payload = receive(peer, 1)
    codes = [payload[start : start + 3] for _, start, _, _ in sections(payload)]
    assert codes == [b"\x00\x53" + bytes([code]) for code in sorted([*SECTIONS, body[0]])]
    for code in (PROPERTIES, APPLICATION, FOOTER, body[0]):
        encoded = next(payload[value:end] for found, _, value, end in sections(payload) if found == code)
        assert encoded == (SECTIONS | dict([body]))[code][1]
    assert section(payload, ANNOTATIONS)["x-mine"] == 1


def test_a_message_without_an_id_gets_one(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    for number in range(2):
        peer.deliver(0, number, e.described(PROPERTIES, e.items([e.NULL, e.NULL, e.string("to")])) + BODY)
    peer.attach("out", 1, "q", receives=True)
    found = [section(receive(peer, 1, 2)[1], PROPERTIES), section(next_delivery(peer)[1], PROPERTIES)]
    assert [one[2] for one in found] == ["to", "to"]
    assert len({one[0] for one in found if isinstance(one[0], str) and len(one[0]) == 32}) == 2


def test_a_received_message_can_be_sent_again(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, BODY)
    peer.attach("out", 1, "q", receives=True)
    _, payload = receive(peer, 1, 2)
    assert peer_sends(peer, payload).descriptor == p.STATE_ACCEPTED
    _, again = next_delivery(peer)
    assert section(again, ANNOTATIONS)["x-opt-sequence-number"] == 2
    assert [code for code, *_ in sections(again)] == [code for code, *_ in sections(payload)]


def peer_sends(peer: Any, payload: bytes) -> Any:
    """Send a message whose delivery to ourselves may come before the answer; that one is left to be read."""
    head = [e.uint(0), e.uint(1), e.binary(b"t"), e.uint(0), e.FALSE, e.FALSE]
    peer.send(p.frame(0, p.performative(p.TRANSFER, head) + payload))
    kept = []
    while (frame := peer.frame())[0] != p.DISPOSITION:
        kept.append(frame)
    peer.unread(kept)
    return frame[1][4]


# -- outcomes


MODIFIED = {
    "nothing": e.EMPTY_LIST,
    "not undeliverable": e.items([e.NULL, e.FALSE]),
    "not failed": e.items([e.FALSE, e.FALSE]),
    "failed": e.items([e.TRUE]),
}


@pytest.mark.parametrize("described", [e.described, lambda code, value: named("amqp:modified:list", value)])
@pytest.mark.parametrize("state", MODIFIED.values(), ids=MODIFIED.keys())
def test_an_abandon_counts_in_all_its_forms(
    server: ServiceBusServer, peer: Any, state: bytes, described: Callable[[int, bytes], bytes]
) -> None:
    server.entities.create_queue("q", QueueOptions(max_delivery_count=3))
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, BODY)
    peer.attach("out", 1, "q", receives=True)
    peer.credit(1, 10)
    counts = []
    for delivery in range(3):
        counts.append(section(next_delivery(peer)[1], HEADER)[4])
        peer.send(
            p.frame(
                0,
                p.performative(
                    p.DISPOSITION,
                    [e.TRUE, e.uint(delivery), e.NULL, e.TRUE, described(p.STATE_MODIFIED, state)],
                ),
            )
        )
    assert counts == [0, 1, 2]
    peer.send(p.frame(0, p.performative(p.END, [])))
    assert peer.frame()[0] == p.END
    assert server.entities.counts("q").dead_letter == 1


def test_a_release_does_not_count(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, BODY)
    peer.attach("out", 1, "q", receives=True)
    receive(peer, 1)
    peer.settle(0, e.described(p.STATE_RELEASED, e.EMPTY_LIST))
    peer.send(p.frame(0, p.performative(p.FLOW, flow_of(1, taken=1, credit=1))))
    assert section(next_delivery(peer)[1], HEADER)[4] == 0


def flow_of(handle: int, *, taken: int, credit: int) -> list[bytes]:
    window = [e.uint(0), e.uint(0x7FFFFFFF), e.uint(0), e.uint(0x7FFFFFFF)]
    return [*window, e.uint(handle), e.uint(taken), e.uint(credit)]


CHANGES = e.mapping([(e.symbol("n"), e.ubyte(8)), (e.string("when"), e.timestamp(1000)), (e.string("new"), e.NULL)])
KEEP = e.mapping([(e.string("n"), e.uint(7)), (e.string("kept"), e.uint(1))])


def dead_letter_with(changes: bytes) -> bytes:
    error = e.described(0x1D, e.items([e.symbol("com.microsoft:dead-letter"), e.NULL, changes]))
    return e.described(p.STATE_REJECTED, e.items([error]))


@pytest.mark.parametrize(
    ("state", "where"),
    [
        (e.described(p.STATE_MODIFIED, e.items([e.TRUE, e.FALSE, CHANGES])), "q"),
        (dead_letter_with(CHANGES), "q/$DeadLetterQueue"),
    ],
    ids=["abandoned", "dead-lettered"],
)
def test_properties_that_a_settlement_changes_are_kept(
    server: ServiceBusServer, peer: Any, state: bytes, where: str
) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, e.described(APPLICATION, KEEP) + BODY)
    peer.attach("out", 1, "q", receives=True)
    receive(peer, 1)
    peer.settle(0, state)
    peer.attach("again", 2, where, receives=True)
    _, payload = receive(peer, 2)
    expected = [("kept", e.uint(1)), ("n", e.ubyte(8)), ("when", e.timestamp(1000)), ("new", e.NULL)]
    encoded = next(payload[value:end] for code, _, value, end in sections(payload) if code == APPLICATION)
    assert encoded == e.mapping([(e.string(name), value) for name, value in expected])


def test_properties_that_update_disposition_changes_are_kept(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, e.described(APPLICATION, KEEP) + BODY)
    peer.attach("out", 1, "q", receives=True)
    fields, payload = receive(peer, 1)
    token = section(payload, DELIVERY_ANNOTATIONS)["x-opt-lock-token"]
    assert token.bytes_le == fields[2]
    peer.attach("replies", 2, "q/$management", receives=True)
    peer.attach("requests", 3, "q/$management", receives=False)
    peer.credit(2, 10)
    asked = [
        (e.string("disposition-status"), e.string("suspended")),
        (e.string("lock-tokens"), e.array(0x98, [token.bytes])),
        (e.string("deadletter-reason"), e.string("why")),
        (e.string("properties-to-modify"), CHANGES),
    ]
    assert peer.request(3, "update-disposition", e.mapping(asked))[0]["statusCode"] == 200
    peer.attach("again", 4, "q/$DeadLetterQueue", receives=True)
    found = section(receive(peer, 4)[1], APPLICATION)
    assert found == {"kept": 1, "n": 8, "when": 1000, "new": None, "DeadLetterReason": "why"}


# -- sessions


def test_a_session_s_state_is_none_once_it_is_emptied(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q", QueueOptions(requires_session=True))
    filters = e.mapping([(e.symbol("com.microsoft:session-filter"), e.string("s1"))])
    peer.attach("out", 0, "q", receives=True, filters=filters)
    peer.attach("replies", 1, "q/$management", receives=True)
    peer.attach("requests", 2, "q/$management", receives=False)
    peer.credit(1, 10)
    session = (e.string("session-id"), e.string("s1"))
    for given, found in ((e.binary(b"x"), b"x"), (e.binary(b""), None), (e.binary(b"y"), b"y"), (e.NULL, None)):
        state = (e.string("session-state"), given)
        assert peer.request(2, "set-session-state", e.mapping([session, state]))[0]["statusCode"] == 200
        assert peer.request(2, "get-session-state", e.mapping([session]))[1] == {"session-state": found}


# -- rules


def rule_request(name: str, **described: bytes) -> bytes:
    given = e.mapping([(e.string(key.replace("_", "-")), value) for key, value in described.items()])
    return e.mapping([(e.string("rule-name"), e.string(name)), (e.string("rule-description"), given)])


def texts(**given: str) -> bytes:
    return e.mapping([(e.string(key.replace("_", "-")), e.string(value)) for key, value in given.items()])


PAGE = e.mapping([(e.string("skip"), e.int32(0)), (e.string("top"), e.int32(2_147_483_647))])


def test_rules_are_added_listed_and_removed_over_amqp(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_topic("t")
    server.entities.create_subscription("t", "s")
    server.entities.put_rule("t", "s", Rule("never", SqlFilter("1=0", kind="FalseFilter")))
    place = "t/Subscriptions/s/$management"
    peer.attach("replies", 0, place, receives=True)
    peer.attach("requests", 1, place, receives=False)
    peer.credit(0, 20)
    sql = rule_request("sql", sql_filter=texts(expression="a = 1"), sql_rule_action=texts(expression="SET b = 2"))
    pairs = [
        (e.string("correlation-id"), e.string("c")),
        (e.string("label"), e.NULL),
        (e.string("properties"), e.mapping([(e.string("n"), e.uint(3))])),
    ]
    correlation = rule_request("correlation", correlation_filter=e.mapping(pairs), sql_rule_action=e.NULL)
    for wanted in (sql, correlation):
        assert peer.request(1, "add-rule", wanted)[0]["statusCode"] == 200
    head, _ = peer.request(1, "add-rule", sql)
    assert (head["statusCode"], head["errorCondition"]) == (409, "com.microsoft:entity-already-exists")
    gone = e.mapping([(e.string("rule-name"), e.string("$Default"))])
    assert peer.request(1, "remove-rule", gone)[0]["statusCode"] == 200
    assert peer.request(1, "remove-rule", gone)[0]["statusCode"] == 404
    head, body = peer.request(1, "enumerate-rules", PAGE)
    assert head["statusCode"] == 200
    assert [shown(one["rule-description"]) for one in body["rules"]] == [
        (0x13700000004, [(0x1370000008, []), (0x13700000005, []), "never"]),
        (0x13700000004, [(0x1370000006, ["a = 1", 20]), (0x13700000006, ["SET b = 2", 20]), "sql"]),
        (0x13700000004, [(0x1370000009, ["c", *[None] * 7, {"n": 3}]), (0x13700000005, []), "correlation"]),
    ]


def shown(value: Any) -> Any:
    """A described value as (descriptor, value), without the time at which a rule was made."""
    if isinstance(value, Described):
        found = [shown(one) for one in value.value]
        return value.descriptor, found[:3] if value.descriptor == 0x13700000004 else found
    return value


def test_what_is_no_rule_is_refused(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_topic("t")
    server.entities.create_subscription("t", "s")
    server.entities.create_queue("q")
    place = "t/Subscriptions/s/$management"
    peer.attach("replies", 0, place, receives=True)
    peer.attach("requests", 1, place, receives=False)
    peer.credit(0, 20)
    for wrong in (
        e.mapping([]),
        e.mapping([(e.string("rule-name"), e.string("x")), (e.string("rule-description"), e.uint(1))]),
        rule_request("x", sql_filter=e.mapping([])),
        rule_request("x", sql_filter=texts(expression="a =")),
        rule_request("x", correlation_filter=texts(colour="red")),
    ):
        assert peer.request(1, "add-rule", wrong)[0]["statusCode"] == 400
    peer.attach("replies of q", 2, "q/$management", receives=True)
    peer.attach("requests of q", 3, "q/$management", receives=False)
    peer.credit(2, 1)
    assert peer.request(3, "enumerate-rules", PAGE)[0]["statusCode"] == 400


# -- transactions


def coordinate(peer: Any, handle: int, delivery: int, asked: bytes) -> Any:
    return peer.deliver(handle, delivery, e.described(VALUE, asked))


def declare(peer: Any, handle: int, delivery: int) -> bytes:
    state = coordinate(peer, handle, delivery, e.described(p.DECLARE, e.EMPTY_LIST))
    assert state.descriptor == p.STATE_DECLARED
    return bytes(state.value[0])


def discharge(peer: Any, handle: int, delivery: int, transaction: bytes, *, fail: bool = False) -> Any:
    asked = e.items([e.binary(transaction), e.boolean(fail)])
    return coordinate(peer, handle, delivery, e.described(p.DISCHARGE, asked))


def open_coordinator(peer: Any, handle: int) -> None:
    target = e.described(p.COORDINATOR, e.items([e.symbols(["amqp:local-transactions"])]))
    head = [
        e.string("coordinator"),
        e.uint(handle),
        e.FALSE,
        e.ubyte(0),
        e.ubyte(0),
        e.described(p.SOURCE, e.EMPTY_LIST),
    ]
    peer.send(p.frame(0, p.performative(p.ATTACH, [*head, target, e.NULL, e.NULL, e.uint(0)])))
    assert [peer.frame()[0], peer.frame()[0]] == [p.ATTACH, p.FLOW]


def send_within(peer: Any, handle: int, delivery: int, transaction: bytes) -> Any:
    state = e.described(p.STATE_TRANSACTIONAL, e.items([e.binary(transaction)]))
    head = [e.uint(handle), e.uint(delivery), e.binary(b"t"), e.uint(0), e.FALSE, e.FALSE, e.NULL, state]
    peer.send(p.frame(0, p.performative(p.TRANSFER, head) + BODY))
    code, fields, _ = peer.frame()
    assert code == p.DISPOSITION
    return fields[4]


@pytest.mark.parametrize("fail", [False, True])
def test_what_is_sent_and_settled_in_a_transaction_is_done_with_it(
    server: ServiceBusServer, peer: Any, fail: bool
) -> None:
    server.entities.create_queue("q")
    server.entities.create_queue("other")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, BODY)
    peer.attach("out", 1, "q", receives=True)
    receive(peer, 1)
    peer.attach("forth", 2, "other", receives=False)
    open_coordinator(peer, 3)
    transaction = declare(peer, 3, 1)
    sent = send_within(peer, 2, 2, transaction)
    assert (sent.descriptor, sent.value[0], sent.value[1].descriptor) == (0x34, transaction, p.STATE_ACCEPTED)
    inside = e.described(p.STATE_TRANSACTIONAL, e.items([e.binary(transaction), p.ACCEPTED]))
    settled = peer.settle(0, inside)
    assert (settled.descriptor, settled.value[0], settled.value[1].descriptor) == (0x34, transaction, p.STATE_ACCEPTED)
    assert (server.entities.counts("q").active, server.entities.counts("other").active) == (1, 0)
    assert discharge(peer, 3, 3, transaction, fail=fail).descriptor == p.STATE_ACCEPTED
    counts = (server.entities.counts("q").active, server.entities.counts("other").active)
    assert counts == ((1, 0) if fail else (0, 1))
    if fail:
        assert peer.settle(0, p.ACCEPTED).descriptor == p.STATE_ACCEPTED
        assert server.entities.counts("q").active == 0
    again = discharge(peer, 3, 4, transaction)
    assert (again.descriptor, again.value[0].value[0]) == (p.STATE_REJECTED, "amqp:transaction:unknown-id")


def test_a_transaction_whose_lock_is_lost_is_rolled_back(
    server: ServiceBusServer, peer: Any, clock: SteppedClock
) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    peer.deliver(0, 0, BODY)
    peer.attach("out", 1, "q", receives=True)
    receive(peer, 1)
    open_coordinator(peer, 2)
    transaction = declare(peer, 2, 1)
    peer.settle(0, e.described(p.STATE_TRANSACTIONAL, e.items([e.binary(transaction), p.ACCEPTED])))
    send_within(peer, 0, 2, transaction)
    clock.advance(61)
    state = discharge(peer, 2, 3, transaction)
    assert (state.descriptor, state.value[0].value[0]) == (p.STATE_REJECTED, "amqp:transaction:rollback")
    assert server.entities.counts("q").active == 1


def test_a_transaction_that_nobody_declared_takes_nothing(server: ServiceBusServer, peer: Any) -> None:
    server.entities.create_queue("q")
    peer.attach("in", 0, "q", receives=False)
    state = send_within(peer, 0, 0, b"never")
    assert (state.descriptor, state.value[0].value[0]) == (p.STATE_REJECTED, "amqp:transaction:unknown-id")
    open_coordinator(peer, 1)
    for wrong in (e.NULL, e.described(0x99, e.EMPTY_LIST), e.described(p.DISCHARGE, e.EMPTY_LIST)):
        assert coordinate(peer, 1, 1, wrong).descriptor == p.STATE_REJECTED
    assert server.entities.counts("q").active == 0


# -- what is not offered


@pytest.mark.parametrize(
    "more",
    [
        [e.symbol("copy")],
        [e.NULL, e.mapping([(e.symbol("apache.org:selector-filter:string"), named("x", e.string("a = 1")))])],
    ],
    ids=["browsing", "selector"],
)
def test_a_link_that_would_take_more_than_it_asks_for_is_refused(
    server: ServiceBusServer, peer: Any, more: list[bytes]
) -> None:
    server.entities.create_queue("q")
    source = e.described(p.SOURCE, e.items([e.string("q"), *[e.NULL] * 5, *more]))
    head = [e.string("out"), e.uint(0), e.TRUE, e.ubyte(1), e.ubyte(0), source]
    peer.send(p.frame(0, p.performative(p.ATTACH, head)))
    assert peer.frame()[0] == p.ATTACH
    code, fields, _ = peer.frame()
    assert (code, fields[2].value[0]) == (p.DETACH, "amqp:not-implemented")
