"""The base classes for backends: the receive loop, settling by kind, letters as copies, and what errors mean."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import pytest

from polybus.backend import BaseDriver, BasePublisher, Letter, Polled, PollingConsumer
from polybus.binding import Binding, Entity, Kind
from polybus.clock import Clock, ManualClock, SteppedClock
from polybus.driver import Ack, BatchLimits, LeaseUntil, Nack, Outgoing, Prepared, Received, ToDeadLetters
from polybus.errors import BackendError, BindingError, Fault, FaultKind, UnsupportedFeature
from polybus.message import Message, Sent
from polybus.testing.mutants import edit

LOST = Fault(FaultKind.LEASE_LOST, "lost")
JOBS = Entity(kind=Kind.QUEUE, name="jobs", address="jobs", dead_letter="jobs-dead", lease=60.0, max_size=5_000)
EVENTS = Entity(kind=Kind.TOPIC, name="events", address="events")
COPY = Entity(kind=Kind.SUBSCRIPTION, name="copy", address="copy", topic="events", dead_letter="copy-dead")
BINDING = Binding(
    backend="plain", bus="shop", topics={"events": EVENTS}, subscriptions={"copy": COPY}, queues={"jobs": JOBS}
)


class Refused(Exception):
    """Of the type, some with a code."""


class Slowed(Refused):
    pass


class Driver(BaseDriver):
    name = "plain"
    faults: ClassVar[Mapping[type[BaseException], FaultKind]] = {
        Refused: FaultKind.DENIED,
        Slowed: FaultKind.THROTTLED,
        ValueError: FaultKind.INVALID,
    }
    codes: ClassVar[Mapping[str, FaultKind]] = {"404": FaultKind.NOT_FOUND}

    def __init__(self, clock: Clock) -> None:
        super().__init__(BINDING, clock)
        self.opened: list[tuple[str, bool]] = []
        self.sent: list[list[Outgoing]] = []
        self.fails: Exception | None = None

    async def open_publisher(self, target: Entity, *, returns: bool = False) -> Publisher:
        self.opened.append((target.address, returns))
        return Publisher(self, target, returns=returns)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> Scripted:
        return Scripted(self, source)

    def code(self, error: Exception) -> str | None:
        return str(error) if str(error).isdecimal() else None


class Publisher(BasePublisher[bytes]):
    limits = BatchLimits(count=2, total_bytes=10_000)
    max_size = 10_000
    closed = False

    def encode(self, outgoing: Outgoing) -> tuple[bytes, int] | Fault:
        return bytes(outgoing.message.body), len(outgoing.message.body)

    async def publish_batch(self, batch: Sequence[Prepared[bytes]]) -> Sequence[Sent | Fault]:
        assert isinstance(self.driver, Driver)
        self.driver.sent.append([each.outgoing for each in batch])
        if self.driver.fails is not None:
            raise self.driver.fails
        return [Sent(each.outgoing.message.id) for each in batch]

    async def aclose(self) -> None:
        self.closed = True


Found = tuple[Sequence[Polled[str]], float | None]


class Scripted(PollingConsumer[str]):
    """Polls what it is given, nothing once that is over; waits until `news`, and notes each call with its time."""

    limits = BatchLimits(count=10, total_bytes=10_000)

    def __init__(self, driver: BaseDriver, source: Entity = JOBS, found: Sequence[Found] = ()) -> None:
        super().__init__(driver, source)
        self.found = list(found)
        self.polls: list[float] = []
        self.waits: list[float] = []
        self.began, self.news = asyncio.Event(), asyncio.Event()
        self.waiting = 0
        self.does: list[tuple[str, list[str]]] = []
        self.answers: dict[str, Callable[[list[str]], Sequence[Fault | None]]] = {}
        self.lost: set[str] = set()

    async def poll(self, count: int) -> Found:
        self.polls.append(self.clock.monotonic())
        return self.found.pop(0) if self.found else ([], None)

    async def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.waiting += 1
        self.began.set()
        try:
            await self.news.wait()
        finally:
            self.waiting -= 1

    async def ack(self, received: Sequence[Received[str]]) -> Sequence[Fault | None]:
        return self.done("ack", [each.receipt for each in received])

    async def nack(self, nacks: Sequence[Nack[str]]) -> Sequence[Fault | None]:
        return self.done("nack", [each.received.receipt for each in nacks])

    async def extend(self, received: Sequence[Received[str]], seconds: float) -> Sequence[float | Fault]:
        receipts = [each.receipt for each in received]
        self.does.append(("extend", receipts))
        return [LOST if each in self.lost else min(seconds, 30.0) for each in receipts]

    def done(self, what: str, receipts: list[str]) -> Sequence[Fault | None]:
        self.does.append((what, receipts))
        answer = self.answers.get(what)
        return answer(receipts) if answer else [LOST if each in self.lost else None for each in receipts]


def polled(receipt: str = "r", **more: Any) -> Polled[str]:
    return Polled(Message(b"x", {}, "k", id=receipt), receipt, **more)


def received(receipt: str, **more: Any) -> Received[str]:
    return Received(Message(b"x", id=receipt), 1, 60.0, receipt, **more)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


# The receive loop -----------------------------------------------------------------------------------------------------


async def test_what_is_there_is_returned_with_its_lease_from_before_the_poll(clock: ManualClock) -> None:
    class Slow(Scripted):
        async def poll(self, count: int) -> Found:
            found = await super().poll(count)
            await self.clock.sleep(2.0)
            return found

    consumer = Slow(Driver(clock), found=[([polled("a"), polled("b", lease=5.0)], None)])
    began = clock.monotonic()
    receiving = asyncio.ensure_future(consumer.receive_batch(10, wait=20.0))
    await clock.advance(2.0)
    assert [each.lease_until - began for each in await receiving] == [60.0, 5.0]
    assert consumer.waits == []


async def test_what_is_none_is_derived(clock: ManualClock) -> None:
    ordered = Entity(kind=Kind.QUEUE, name="q", address="q", dead_letter="d", ordered=True)
    batch = [
        polled(),
        polled(attempt=2),
        polled(moves=1),
        polled(attempt=2, redelivered=False),
        polled(group="own", redelivered=True),
    ]
    for source, group in ((ordered, "k"), (JOBS, None), (ordered.dead_letters, None)):
        [*found] = await Scripted(Driver(clock), source, [(batch, None)]).receive_batch(5, wait=0.0)
        assert [each.redelivered for each in found] == [False, True, True, False, True]
        assert [each.group for each in found] == [group] * 4 + ["own"]


async def test_a_receive_that_need_not_wait_polls_once(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    assert await consumer.receive_batch(1, wait=0.0) == []
    assert (len(consumer.polls), consumer.waits) == (1, [])


async def test_it_ends_at_its_deadline_after_a_last_poll(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    began = clock.monotonic()
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
    await clock.advance(19.9)
    assert not receiving.done()
    await clock.advance(0.1)
    assert [each - began for each in consumer.polls] == [0.0, 20.0]
    assert await receiving == []
    assert (consumer.waits, consumer.waiting) == ([20.0], 0)


async def test_news_end_a_wait(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock), found=[([], None), ([polled("a")], None)])
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
    await clock.advance(3.0)
    consumer.news.set()
    [found] = await receiving
    assert (found.receipt, found.lease_until) == ("a", clock.monotonic() + 60.0)


async def test_what_falls_due_is_polled_for_when_it_is_due(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock), found=[([], 7.0), ([], 2.0), ([polled("a")], None)])
    began = clock.monotonic()
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
    await clock.advance(9.0)
    assert [each - began for each in consumer.polls] == [0.0, 7.0, 9.0]
    assert [each.receipt for each in await receiving] == ["a"]


async def test_what_is_due_at_once_again_and_again_is_no_busy_loop(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock), found=[([], 0.0)] * 1_000)
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=10.0))
    for _ in range(10):
        await clock.settle()
    assert len(consumer.polls) == 1, "it polls though no time passes"
    await clock.advance(10.1)
    assert await receiving == []
    assert len(consumer.polls) < 300


async def test_a_wait_that_ends_early_again_and_again_is_no_busy_loop(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    consumer.news.set()
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=10.0))
    for _ in range(10):
        await clock.settle()
    assert len(consumer.polls) < 10, "it polls though no time passes"
    await clock.advance(10.1)
    assert await receiving == []
    assert len(consumer.polls) < 300


async def test_stop_ends_a_wait_and_nothing_is_polled_any_more(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
    await clock.settle()
    assert consumer.waiting == 1
    assert await consumer.stop() == []
    await clock.settle()
    assert receiving.done()
    assert await receiving == []
    assert await consumer.receive_batch(1, wait=20.0) == []
    assert (len(consumer.polls), consumer.waiting) == (1, 0)


async def test_what_a_poll_brings_after_stop_is_handed_on(clock: ManualClock) -> None:
    gate = asyncio.Event()

    class Gated(Scripted):
        async def poll(self, count: int) -> Found:
            await gate.wait()
            return await super().poll(count)

    for found in ([polled("a")], []):
        gate.clear()
        consumer = Gated(Driver(clock), found=[(found, None)])
        receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
        await clock.settle()
        await consumer.stop()
        gate.set()
        await clock.settle()
        assert receiving.done(), "it waited after stop"
        assert [each.receipt for each in await receiving] == [each.receipt for each in found]


async def test_a_receive_that_is_cancelled_leaves_no_wait_behind(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
    await clock.settle()
    receiving.cancel()
    await clock.settle()
    assert receiving.cancelled()
    assert (consumer.waiting, clock.next_due()) == (0, None)


async def test_what_a_wait_raises_is_raised(clock: ManualClock) -> None:
    class Cut(Scripted):
        async def wait(self, seconds: float) -> None:
            raise ConnectionResetError("cut")

    with pytest.raises(ConnectionResetError):
        await Cut(Driver(clock)).receive_batch(1, wait=20.0)


async def test_a_wait_that_does_not_end_when_it_is_cancelled_is_named(clock: ManualClock) -> None:
    class Deaf(Scripted):
        async def wait(self, seconds: float) -> None:
            while not self.news.is_set():
                try:
                    await self.news.wait()
                except asyncio.CancelledError:
                    continue

    consumer = Deaf(Driver(clock))
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=2.0))
    await clock.advance(60.0)
    with pytest.raises(BackendError, match="doesn't end when it is cancelled"):
        await receiving
    consumer.news.set()
    await clock.settle()


async def test_a_wait_of_its_own_is_a_second_at_most(clock: ManualClock) -> None:
    class Plain(Scripted):
        wait = PollingConsumer.wait

    consumer = Plain(Driver(clock))
    began = clock.monotonic()
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=2.5))
    await clock.advance(2.5)
    assert await receiving == []
    assert [each - began for each in consumer.polls] == [0.0, 1.0, 2.0, 2.5]


async def test_a_clock_that_steps_forward_ends_a_wait_that_knows_another_time() -> None:
    clock = SteppedClock()
    consumer = Scripted(Driver(clock), found=[([], 600.0), ([polled("a")], None)])
    receiving = asyncio.ensure_future(consumer.receive_batch(1, wait=20.0))
    await consumer.began.wait()
    clock.advance(20.0)
    assert [each.receipt for each in await receiving] == ["a"]


async def test_a_consumer_that_finds_messages_lets_others_run(clock: ManualClock) -> None:
    consumer, turns = Scripted(Driver(clock), found=[([polled()], None)] * 100), 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.ensure_future(other())
    for _ in range(100):
        await consumer.receive_batch(1, wait=20.0)
    running.cancel()
    assert turns >= 100


# Settling -------------------------------------------------------------------------------------------------------------


async def test_each_kind_is_one_call_and_each_answer_at_its_place(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    consumer.lost = {"b", "c"}
    a, b, c, d, e = (received(each) for each in "abcde")
    answers = await consumer.settle_batch([Nack(a), Ack(b), Nack(c), Ack(d), Ack(e)])
    assert answers == [None, LOST, LOST, None, None]
    assert consumer.does == [("ack", ["b", "d", "e"]), ("nack", ["a", "c"])]


async def test_what_fails_as_a_whole_fails_its_kind_alone(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))

    def cut(receipts: list[str]) -> Sequence[Fault | None]:
        raise ConnectionResetError("cut")

    consumer.answers["nack"] = cut
    first, second, third = await consumer.settle_batch([Ack(received("a")), Nack(received("b")), Nack(received("c"))])
    assert first is None
    assert second == third == Fault(FaultKind.UNAVAILABLE, "plain: cut")
    consumer.answers["ack"] = cut
    with pytest.raises(ConnectionResetError):
        await consumer.settle_batch([Ack(received("a"))])


async def test_what_is_refused_as_a_whole_is_asked_for_one_by_one(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))

    def picky(receipts: list[str]) -> Sequence[Fault | None]:
        if "b" in receipts:
            raise ValueError("no such receipt")
        return [None] * len(receipts)

    consumer.answers["nack"] = picky
    answers = await consumer.settle_batch([Ack(received("x")), *(Nack(received(each)) for each in "abc")])
    assert answers == [None, None, Fault(FaultKind.INVALID, "plain: no such receipt"), None]


async def test_too_few_answers_of_a_kind_are_a_bug_and_not_tried_again(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    consumer.answers["nack"] = lambda receipts: [None]
    answers = await consumer.settle_batch([Ack(received("a")), Nack(received("b")), Nack(received("c"))])
    assert answers[0] is None
    for answer in answers[1:]:
        assert isinstance(answer, Fault)
        assert (answer.kind, answer.retryable) == (FaultKind.INVALID, False)
        assert "gave 1 answers for 2 items" in answer.detail


async def test_leases_are_seconds_from_before_the_call(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    consumer.lost = {"b"}
    answers = await consumer.extend_batch([received("a"), received("b")], 60.0)
    assert answers == [LeaseUntil(clock.monotonic() + 30.0), LOST]


# Letters as copies ----------------------------------------------------------------------------------------------------


def letters(*receipts: str) -> list[ToDeadLetters[str]]:
    return [ToDeadLetters(received(each, moves=2, token=f"t-{each}"), "Why", "because") for each in receipts]


async def test_a_letter_is_extended_copied_and_then_acked(clock: ManualClock) -> None:
    driver = Driver(clock)
    consumer = Scripted(driver)
    assert await consumer.settle_batch(letters("a", "b", "c")) == [None] * 3
    assert driver.opened == [("jobs-dead", True)]
    assert [[each.message.id for each in batch] for batch in driver.sent] == [["a", "b"], ["c"]]
    first = driver.sent[0][0]
    assert isinstance(first, Letter)
    assert (first.reason, first.description, first.moves, first.dedup_id) == ("Why", "because", 3, "t-a.3")
    assert consumer.does == [("extend", ["a", "b", "c"]), ("ack", ["a", "b", "c"])]


async def test_a_stale_receipt_buries_nothing(clock: ManualClock) -> None:
    driver = Driver(clock)
    consumer = Scripted(driver)
    consumer.lost = {"b"}
    assert await consumer.settle_batch([Ack(received("x")), *letters("a", "b")]) == [None, None, LOST]
    assert [[each.message.id for each in batch] for batch in driver.sent] == [["a"]]
    assert ("ack", ["a"]) in consumer.does


async def test_what_could_not_be_copied_is_not_acked(clock: ManualClock) -> None:
    driver = Driver(clock)
    consumer = Scripted(driver)
    driver.fails = ConnectionResetError("cut")
    [answer] = await consumer.settle_batch(letters("a"))
    assert answer == Fault(FaultKind.UNAVAILABLE, "plain: cut")
    assert consumer.does == [("extend", ["a"])]
    driver.fails = None
    assert await consumer.settle_batch(letters("a")) == [None]
    assert driver.opened == [("jobs-dead", True)], "it is opened once"


async def test_a_letter_without_room_says_so_and_the_others_go(clock: ManualClock) -> None:
    driver = Driver(clock)
    consumer = Scripted(driver)
    large = ToDeadLetters(Received(Message(b"x" * 5_001, id="l"), 1, 60.0, "l"), "Why")
    answers = await consumer.settle_batch([large, *letters("a")])
    assert isinstance(answers[0], Fault)
    assert (answers[0].kind, answers[1]) == (FaultKind.TOO_LARGE, None)
    assert consumer.does[1:] == [("ack", ["a"])]


async def test_a_letter_that_is_refused_fails_alone(clock: ManualClock) -> None:
    class Picky(Publisher):
        async def publish_batch(self, batch: Sequence[Prepared[bytes]]) -> Sequence[Sent | Fault]:
            if any(each.outgoing.message.id == "b" for each in batch):
                raise ValueError("no such letter")
            return await super().publish_batch(batch)

    class PickyDriver(Driver):
        async def open_publisher(self, target: Entity, *, returns: bool = False) -> Publisher:
            return Picky(self, target, returns=returns)

    consumer = Scripted(PickyDriver(clock))
    answers = await consumer.settle_batch(letters("a", "b", "c"))
    assert answers == [None, Fault(FaultKind.INVALID, "plain: no such letter"), None]
    assert consumer.does[1:] == [("ack", ["a", "c"])]


@pytest.mark.parametrize("outcomes", [[], [None], ["sent"]])
async def test_what_was_not_said_to_be_sent_is_not_acked(clock: ManualClock, outcomes: list[Any]) -> None:
    class Odd(Publisher):
        async def publish_batch(self, batch: Sequence[Prepared[bytes]]) -> Sequence[Sent | Fault]:
            return outcomes

    class OddDriver(Driver):
        async def open_publisher(self, target: Entity, *, returns: bool = False) -> Publisher:
            return Odd(self, target, returns=returns)

    consumer = Scripted(OddDriver(clock))
    [answer] = await consumer.settle_batch(letters("a"))
    assert isinstance(answer, Fault)
    assert "a bug of this backend" in answer.detail
    assert consumer.does == [("extend", ["a"])]


async def test_an_ack_that_is_lost_after_the_copy_is_told(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    consumer.answers["ack"] = lambda receipts: [LOST] * len(receipts)
    assert await consumer.settle_batch(letters("a")) == [LOST]


async def test_a_dead_letter_is_not_dead_lettered_and_the_others_are_settled(clock: ManualClock) -> None:
    driver = Driver(clock)
    consumer = Scripted(driver, JOBS.dead_letters)
    answers = await consumer.settle_batch([Ack(received("a")), *letters("b"), Nack(received("c"))])
    assert isinstance(answers[1], Fault)
    assert (answers[0], answers[1].kind, answers[2]) == (None, FaultKind.INVALID, None)
    assert driver.opened == []


async def test_closing_a_consumer_closes_what_letters_were_sent_by(clock: ManualClock) -> None:
    consumer = Scripted(Driver(clock))
    await consumer.settle_batch(letters("a"))
    publisher = consumer._letter_publisher
    assert isinstance(publisher, Publisher)
    await consumer.aclose()
    assert publisher.closed


# The tests above see it -----------------------------------------------------------------------------------------------

_RECEIVE, _BURY = "polybus.backend:PollingConsumer.receive_batch", "polybus.backend:BaseConsumer.dead_letter"


@pytest.mark.parametrize(
    ("where", "old", "new", "test"),
    [
        (
            _RECEIVE,
            "await self._until(until - waits, self.wait(until - waits))",
            "await asyncio.sleep(0)",
            test_it_ends_at_its_deadline_after_a_last_poll,
        ),
        (_RECEIVE, "if batch:", "if batch and not self.stopping:", test_what_a_poll_brings_after_stop_is_handed_on),
        (_RECEIVE, "began + due", "deadline", test_what_falls_due_is_polled_for_when_it_is_due),
        (
            _RECEIVE,
            "if quick > _QUICK_IN_A_ROW",
            "if False",
            test_a_wait_that_ends_early_again_and_again_is_no_busy_loop,
        ),
        (
            _BURY,
            "await self._copy(letters, answers)",
            "await self.ack([each.received for each in letters]); await self._copy(letters, answers)",
            test_what_could_not_be_copied_is_not_acked,
        ),
    ],
)
async def test_what_is_broken_is_seen(where: str, old: str, new: str, test: Callable[[ManualClock], Any]) -> None:
    with edit(where, old, new)(), pytest.raises(AssertionError):
        await test(ManualClock())


# Publishing -----------------------------------------------------------------------------------------------------------


def prepared(target: Entity = JOBS, *, returns: bool = False, moves: int = 0, **message: Any) -> object:
    return Publisher(Driver(ManualClock()), target, returns=returns).prepare(
        Outgoing(Message(message.pop("body", b"x"), message.pop("attributes", {}), **message), moves=moves)
    )


@pytest.mark.parametrize(
    "message", [{"attributes": {"awsId": "1"}}, {"ordering_key": "a b"}, {"attributes": {"a": "\udce9"}}]
)
def test_what_is_the_same_everywhere_is_checked_before_it_is_encoded(message: dict[str, Any]) -> None:
    fault = prepared(id="1", **message)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.INVALID
    assert "on plain" in fault.detail


def test_what_moves_may_have_any_names_and_any_key() -> None:
    message: dict[str, Any] = {"id": "1", "attributes": {"awsId": "1"}, "ordering_key": "a b"}
    assert isinstance(prepared(returns=True, **message), Prepared)
    assert isinstance(prepared(moves=1, **message), Prepared)


def test_room_is_kept_for_the_letter_and_the_letter_may_take_it() -> None:
    assert isinstance(prepared(id="1", body=b"x" * (5_000 - 2_048)), Prepared)
    fault = prepared(id="1", body=b"x" * (5_000 - 2_047))
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.TOO_LARGE
    assert "5000" in fault.detail
    assert isinstance(prepared(JOBS.dead_letters, returns=True, id="1", body=b"x" * 5_000), Prepared)
    assert isinstance(prepared(EVENTS, id="1", body=b"x" * 7_000), Prepared), "the publisher's own limit"


# The driver -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (Refused("no"), FaultKind.DENIED, "plain: no"),
        (Slowed(""), FaultKind.THROTTLED, "plain: Slowed"),
        (Slowed("404"), FaultKind.NOT_FOUND, "plain: 404"),
        (Refused("500"), FaultKind.DENIED, "plain: 500"),
        (ConnectionResetError("cut"), FaultKind.UNAVAILABLE, "plain: cut"),
        (TimeoutError(), FaultKind.TIMEOUT, "plain: TimeoutError"),
        (KeyError("secret"), FaultKind.INTERNAL, "plain: KeyError"),
        (BackendError(LOST), FaultKind.LEASE_LOST, "lost"),
        (BindingError("settings.url is needed"), FaultKind.INVALID, "settings.url is needed"),
    ],
)
def test_errors_are_told_by_code_and_then_by_the_nearest_type(error: Exception, kind: FaultKind, detail: str) -> None:
    fault = Driver(ManualClock()).fault(error)
    assert (fault.kind, fault.detail) == (kind, detail)


async def test_what_operators_do_has_defaults(clock: ManualClock) -> None:
    driver = Driver(clock)
    admin = await driver.open_admin()
    await admin.ping()
    assert driver.opened == [("events", False)]
    assert await admin.describe(JOBS) == {}
    assert (await admin.stats(JOBS)).waiting is None
    for refused in (admin.peek(JOBS, 1), admin.purge(JOBS)):
        with pytest.raises(UnsupportedFeature, match=r"queue 'jobs': plain "):
            await refused
    back = await admin.open_return(COPY)
    assert isinstance(back, Publisher)
    assert (driver.opened[-1], back.returns) == (("copy", True), True)
    await admin.aclose()
    assert driver.raw(JOBS) == "jobs"


def test_a_binding_says_what_a_topic_feeds_and_what_holds_messages() -> None:
    assert BINDING.subscriptions_of("events") == BINDING.subscriptions_of(EVENTS) == (COPY,)
    assert BINDING.subscriptions_of("other") == ()
    assert [each.address for each in BINDING.sources()] == ["copy", "copy-dead", "jobs", "jobs-dead"]
    bare = Binding(backend="plain", bus="b", queues={"q": Entity(kind=Kind.QUEUE, name="q", address="q")})
    assert [each.address for each in bare.sources()] == ["q"]
