"""Consuming from SQS: leases that are provable, polls that lose nothing, letters that arrive one by one."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from polybus.clouds.aws.driver.consume import SqsConsumer
from polybus.driver import Ack, LeaseUntil, Nack, Outgoing, ToDeadLetters
from polybus.errors import Fault, FaultKind
from polybus.message import Message

from .aws_lab import Lab, Way, bodies, lab

TOPOLOGY = """\
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
[queues.jobs]
lease = "40s"
[queues.brief]
lease = "2s"
[queues.keyed]
ordered = true
lease = "40s"
"""


@pytest.fixture(scope="module", params=["lean", "boto3"])
def made(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, lab(TOPOLOGY, patch) as made:
        made.client = request.param
        yield made


@pytest.fixture
def shop(made: Lab) -> Lab:
    made.empty()
    return made


async def consumer(shop: Lab, driver: Any, name: str) -> SqsConsumer:
    opened = await driver.open_consumer(shop.entity(name), prefetch=10, concurrency=1)
    assert isinstance(opened, SqsConsumer)
    return opened


# Leases ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "lease"), [("jobs", 40), ("keyed", 40)])
async def test_a_lease_is_counted_from_before_the_call(shop: Lab, name: str, lease: int) -> None:
    async with shop.driver() as driver:
        consuming = await consumer(shop, driver, name)
        before = shop.clock.monotonic()
        receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
        await shop.polls(shop.entity(name).address, 1)
        called = shop.clock.monotonic()
        shop.clock.advance(7)
        await shop.publish(driver, name, "x", key="k" if name == "keyed" else None)
        [received] = await receiving
        assert before + lease <= received.lease_until <= called + lease


async def test_no_poll_takes_more_than_a_quarter_of_a_lease(shop: Lab) -> None:
    async with shop.driver() as driver:
        for name, seconds in (("jobs", 10), ("brief", 1), ("billing", 15)):
            consuming = await consumer(shop, driver, name)
            receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
            await shop.polls(shop.entity(name).address, 1)
            shop.clock.advance(seconds - 0.9)
            await shop.polls(shop.entity(name).address, 1)
            shop.clock.advance(1)
            assert await receiving == []


async def test_a_short_lease_is_whole_when_it_arrives(shop: Lab) -> None:
    async with shop.driver() as driver:
        consuming = await consumer(shop, driver, "brief")
        receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
        await shop.polls(shop.entity("brief").address, 1)
        shop.clock.advance(0.9)
        await shop.publish(driver, "brief", "x")
        [received] = await receiving
        assert received.lease_until >= shop.clock.monotonic() + 2 - 1
        shop.clock.advance(received.lease_until - shop.clock.monotonic() - 0.1)
        assert shop.counts(shop.entity("brief").address) == (0, 1)


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_what_came_too_late_is_no_lease_of_ours(shop: Lab, name: str) -> None:
    """The answer is held up for longer than the lease, and somebody else handles and acks the message meanwhile."""
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as late, shop.driver() as other:
        consuming = await consumer(shop, late, name)
        assert await consuming.receive_batch(10, wait=0) == []
        way.answers.clear()
        receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
        await shop.polls(shop.entity(name).address, 1)
        await shop.publish(other, name, "x", key="k" if name == "keyed" else None)
        async with asyncio.timeout(20):
            # Until the poll whose answer is held up has it.
            while shop.counts(shop.entity(name).address) != (0, 1):  # noqa: ASYNC110 - the server tells nobody
                await asyncio.sleep(0.01)
        shop.clock.advance(41)
        theirs = await consumer(shop, other, name)
        [received] = await theirs.receive_batch(10, wait=0)
        assert await theirs.settle_batch([Ack(received)]) == [None]
        way.answers.set()
        assert all(stale.lease_until <= shop.clock.monotonic() for stale in await receiving)


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_a_receipt_whose_lease_is_over_settles_nothing(shop: Lab, name: str) -> None:
    """A standard queue would take it, and delete what another consumer has."""
    async with shop.driver() as driver:
        key = "k" if name == "keyed" else None
        await shop.publish(driver, name, "1", "2", "3", "4", key=key)
        here, there = [await consumer(shop, driver, name) for _ in range(2)]
        stale = await here.receive_batch(10, wait=0)
        assert len(stale) == 4
        shop.clock.advance(41)
        theirs = await there.receive_batch(10, wait=0)
        found = await here.settle_batch([Ack(stale[0]), Nack(stale[1]), ToDeadLetters(stale[2], "Late")])
        found = [*found, *await here.extend_batch(stale[3:], 40)]
        assert [isinstance(each, Fault) and each.kind for each in found] == [FaultKind.LEASE_LOST] * 4
        assert shop.counts(shop.entity(name).dead_letters.address) == (0, 0)
        assert await there.settle_batch([Ack(one) for one in theirs]) == [None] * 4
        assert shop.counts(shop.entity(name).address) == (0, 0)


async def test_a_receipt_that_gave_its_message_back_is_good_for_nothing_more(shop: Lab) -> None:
    async with shop.driver() as driver:
        await shop.publish(driver, "jobs", "x")
        consuming = await consumer(shop, driver, "jobs")
        [first] = await consuming.receive_batch(1, wait=0)
        assert await consuming.settle_batch([Nack(first)]) == [None]
        [second] = await consuming.receive_batch(1, wait=0)
        for late in (Ack(first), Nack(first), ToDeadLetters(first, "late")):
            [found] = await consuming.settle_batch([late])
            assert isinstance(found, Fault)
            assert found.kind is FaultKind.LEASE_LOST
        [found] = await consuming.extend_batch([first], 40)
        assert isinstance(found, Fault)
        assert await consuming.settle_batch([Ack(second)]) == [None]


async def test_an_extended_receipt_is_good_until_its_new_end(shop: Lab) -> None:
    async with shop.driver() as driver:
        await shop.publish(driver, "jobs", "x")
        consuming = await consumer(shop, driver, "jobs")
        [received] = await consuming.receive_batch(10, wait=0)
        for _ in range(3):
            shop.clock.advance(30)
            [granted] = await consuming.extend_batch([received], 40)
            assert isinstance(granted, LeaseUntil)
        assert await consuming.settle_batch([Ack(received)]) == [None]


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_what_came_late_and_is_still_ours_has_a_new_lease(shop: Lab, name: str) -> None:
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as late, shop.driver() as other:
        consuming = await consumer(shop, late, name)
        assert await consuming.receive_batch(10, wait=0) == []
        way.answers.clear()
        receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
        await shop.polls(shop.entity(name).address, 1)
        await shop.publish(other, name, "x", key="k" if name == "keyed" else None)
        await shop.until(shop.entity(name).address, (0, 1))
        shop.clock.advance(30)
        way.answers.set()
        [received] = await receiving
        assert received.lease_until >= shop.clock.monotonic() + 30
        shop.clock.advance(30)
        assert shop.counts(shop.entity(name).address) == (0, 1)
        assert await consuming.settle_batch([Ack(received)]) == [None]


async def test_twelve_hours_are_the_end_of_a_lease_and_of_nothing_else(shop: Lab) -> None:
    async with shop.driver() as driver:
        await shop.publish(driver, "jobs", "x")
        consuming = await consumer(shop, driver, "jobs")
        [received] = await consuming.receive_batch(10, wait=0)
        begun = shop.clock.monotonic()
        step = 6 * 3600.0
        [granted] = await consuming.extend_batch([received], step + 600)
        assert isinstance(granted, LeaseUntil)
        shop.clock.advance(step)
        [granted] = await consuming.extend_batch([received], 7 * 3600)
        assert isinstance(granted, LeaseUntil)
        assert granted.at <= begun + 12 * 3600
        shop.clock.advance(step - 100)
        assert await consuming.settle_batch([Nack(received, 600.0)]) == [None]
        assert shop.counts(shop.entity("jobs").address) == (0, 1)
        shop.clock.advance(200)
        [again] = await consuming.receive_batch(10, wait=0)
        [refused] = await consuming.extend_batch([received], 40)
        assert again.attempt == 2
        assert isinstance(refused, Fault)
        assert refused.kind is FaultKind.LEASE_LOST


# Polls ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jobs", "keyed"])
async def test_a_poll_that_nobody_waits_for_gives_back_what_it_brings(shop: Lab, name: str) -> None:
    async with shop.driver() as driver:
        consuming = await consumer(shop, driver, name)
        address = shop.entity(name).address
        receiving = asyncio.create_task(consuming.receive_batch(10, wait=20))
        await shop.polls(address, 1)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        await shop.publish(driver, name, "x", key="k" if name == "keyed" else None)
        again = await consumer(shop, driver, name)
        [received] = await again.receive_batch(10, wait=20)
        assert received.message.body == b"x"


async def test_a_backlog_that_nobody_waits_for_is_given_back(shop: Lab) -> None:
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as driver, shop.driver() as other:
        address = shop.entity("jobs").address
        publisher = await other.open_publisher(shop.entity("jobs"))
        prepared = [publisher.prepare(Outgoing(Message(b"x", {}, None, str(number)))) for number in range(10)]
        for _ in range(3):
            await publisher.publish_batch(prepared)
        consuming = await consumer(shop, driver, "jobs")
        receiving = asyncio.create_task(consuming.receive_batch(50, wait=0))
        while not shop.counts(address)[1]:  # noqa: ASYNC110 - the server's, in a thread of its own
            await asyncio.sleep(0)
        way.answers.clear()  # of the first receive or of the burst after it, as it happens
        await asyncio.sleep(0)
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        way.answers.set()
        await shop.until(address, (30, 0))


async def test_what_part_of_a_burst_brought_before_it_was_given_up_is_given_back(
    shop: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shop.driver() as driver:
        address = shop.entity("jobs").address
        publisher = await driver.open_publisher(shop.entity("jobs"))
        for batch in range(3):
            numbers = range(10 * batch, 10 * batch + 10)
            prepared = [publisher.prepare(Outgoing(Message(b"x", {}, None, str(number)))) for number in numbers]
            await publisher.publish_batch(prepared)
        consuming = await consumer(shop, driver, "jobs")
        receive, calls = consuming._receive, 0
        answered = asyncio.Event()

        async def one_hangs(count: int, wait: int) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                await asyncio.Event().wait()
            found = await receive(count, wait)
            if calls > 2:
                answered.set()
            return found

        monkeypatch.setattr(consuming, "_receive", one_hangs)
        receiving = asyncio.create_task(consuming.receive_batch(30, wait=0))
        await answered.wait()
        await shop.until(address, (10, 20))
        receiving.cancel()
        await asyncio.wait([receiving])
        await shop.until(address, (30, 0))


async def test_a_receive_whose_answer_was_lost_is_answered_again_on_fifo(shop: Lab) -> None:
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as driver, shop.driver() as other:
        consuming = await consumer(shop, driver, "keyed")
        await shop.publish(other, "keyed", "1", "2", key="k")
        way.answers.clear()
        receiving = asyncio.create_task(consuming.receive_batch(10, wait=0))
        address = shop.entity("keyed").address
        await shop.until(address, (0, 2))
        way.cut()
        [error] = await asyncio.gather(receiving, return_exceptions=True)
        assert isinstance(error, Exception)
        assert driver.fault(error).retryable
        way.answers.set()
        received = await consuming.receive_batch(10, wait=0)
        assert bodies(received) == ["1", "2"]
        assert await consuming.settle_batch([Ack(one) for one in received]) == [None, None]


async def test_consumers_beyond_any_pool_all_receive_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    count = 120
    toml = '[bus]\nname = "many"\n' + "".join(f"[queues.q{number}]\n" for number in range(count))
    with lab(toml, monkeypatch) as many:
        async with many.driver() as driver:
            consumers = [await consumer(many, driver, f"q{number}") for number in range(count)]
            receiving = [asyncio.create_task(each.receive_batch(10, wait=20)) for each in consumers]
            for number in range(count):
                await many.polls(many.entity(f"q{number}").address, 1)
            await many.publish(driver, f"q{count - 1}", "last")
            assert bodies(await receiving[-1]) == ["last"]
            many.clock.advance(16)
            assert await asyncio.gather(*receiving[:-1]) == [[]] * (count - 1)


async def test_a_connection_that_died_without_a_word_costs_one_timeout(
    shop: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("polybus.clouds.aws.driver.clients.CALL_TIMEOUT", 1)
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as driver:
        address = shop.entity("jobs").address
        await asyncio.gather(*(shop.publish(driver, "jobs", str(number)) for number in range(8)))
        way.bury()
        publisher = await driver.open_publisher(shop.entity("jobs"))
        prepared = publisher.prepare(Outgoing(Message(b"after", {}, None, "after")))
        [error] = await asyncio.gather(publisher.publish_batch([prepared]), return_exceptions=True)
        assert isinstance(error, Exception)
        assert driver.fault(error).kind is FaultKind.TIMEOUT
        outcomes = await asyncio.gather(*(publisher.publish_batch([prepared]) for _ in range(4)))
        assert all(not isinstance(outcome, Fault) for [outcome] in outcomes)
        assert shop.counts(address)[0] >= 12


async def test_a_connection_that_a_caller_gave_up_is_not_used_again(shop: Lab) -> None:
    async with Way(shop.server) as way, shop.driver(endpoint=way.url) as driver:
        await asyncio.gather(*(shop.publish(driver, "jobs", str(number)) for number in range(8)))
        way.bury()
        publisher = await driver.open_publisher(shop.entity("jobs"))
        prepared = publisher.prepare(Outgoing(Message(b"after", {}, None, "after")))
        given_up = (asyncio.wait_for(publisher.publish_batch([prepared]), 0.2) for _ in range(20))
        found = await asyncio.gather(*given_up, return_exceptions=True)
        assert any(isinstance(each, TimeoutError) for each in found)
        outcomes = await asyncio.gather(*(publisher.publish_batch([prepared]) for _ in range(4)))
        assert all(not isinstance(outcome, Fault) for [outcome] in outcomes)


FORKS = """
import asyncio, os, sys
from pathlib import Path
from polybus.clouds.aws.driver.driver import AwsDriver
from polybus.binding import Binding
from polybus.clock import SystemClock
from polybus.errors import BusClosed

binding = Binding.from_file(Path(sys.argv[1]))
driver = AwsDriver(binding, SystemClock())
jobs = binding.queues["jobs"]


async def use():
    consuming = await driver.open_consumer(jobs, prefetch=1, concurrency=1)
    return await consuming.receive_batch(1, wait=0)


async def raw():
    return driver.raw(jobs)


asyncio.run(use())
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for attempt in (use, raw):
    try:
        asyncio.run(attempt())
    except BusClosed as refused:
        print(refused)
    else:
        sys.exit(1)
asyncio.run(driver.aclose())
"""


async def test_a_forked_child_is_refused_and_hangs_nowhere(shop: Lab, tmp_path: Path) -> None:
    path = tmp_path / "binding.json"
    path.write_text(shop.binding.to_json())
    ignoring = ("-W", "ignore::DeprecationWarning")  # what Python 3.12 says of forks beside threads is the point here
    process = await asyncio.create_subprocess_exec(
        sys.executable, *ignoring, "-c", FORKS, str(path), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        said, _ = await process.communicate()
    assert process.returncode == 0
    assert said.decode().count("connect again here") == 2


# Dead letters ---------------------------------------------------------------------------------------------------------


async def test_one_letter_that_is_refused_leaves_the_others(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.driver() as driver:
        await shop.publish(driver, "keyed", "1", "2", "3", key="k")
        consuming = await consumer(shop, driver, "keyed")
        received = list(await consuming.receive_batch(10, wait=0))
        real = SqsConsumer._letter_entry

        def bend(self: SqsConsumer, place: int, prepared: Any) -> dict[str, Any]:
            entry = real(self, place, prepared)
            if prepared.outgoing.message.body == b"2":
                del entry["MessageGroupId"]
            return entry

        monkeypatch.setattr(SqsConsumer, "_letter_entry", bend)
        found = await consuming.settle_batch([ToDeadLetters(one, "Bad") for one in received])
        assert [fault and fault.kind for fault in found] == [None, FaultKind.INVALID, None]
        letters = shop.entity("keyed").dead_letters
        assert shop.counts(letters.address) == (2, 0)


async def test_what_an_answer_leaves_out_was_not_done(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    async with shop.driver() as driver:
        await shop.publish(driver, "jobs", "letter", "ack", "nack", "extend")
        consuming = await consumer(shop, driver, "jobs")
        letter, ack, nack, extend = sorted(await consuming.receive_batch(10, wait=0), key=lambda one: one.message.id)

        async def call(service: str, operation: str, **arguments: Any) -> dict[str, Any]:
            return {"Successful": []}

        with monkeypatch.context() as patch:
            patch.setattr(driver._clients, "call", call)
            settled = await consuming.settle_batch([ToDeadLetters(letter, "bad"), Ack(ack), Nack(nack)])
            extended = await consuming.extend_batch([extend], 40)
        assert [isinstance(one, Fault) and one.retryable for one in (*settled, *extended)] == [True] * 4


async def test_two_letters_of_one_id_are_two(shop: Lab) -> None:
    async with shop.driver() as driver:
        queue = shop.entity("keyed")
        publisher = await driver.open_publisher(queue)
        message = Message(b"x", {}, "k", "the same id, with spaces and ü")
        batch = [publisher.prepare(Outgoing(message, token=f"call-{number}")) for number in range(2)]
        for each in batch:
            await publisher.publish_batch([each])
        consuming = await consumer(shop, driver, "keyed")
        received = await consuming.receive_batch(10, wait=0)
        assert [one.message.id for one in received] == [message.id] * 2
        assert len({one.token for one in received}) == 2
        assert await consuming.settle_batch([ToDeadLetters(one, "Bad") for one in received]) == [None, None]
        assert shop.counts(queue.dead_letters.address) == (2, 0)
        letters = await driver.open_consumer(queue.dead_letters, prefetch=10, concurrency=1)
        found = await letters.receive_batch(10, wait=0)
        assert [(one.message.id, one.message.ordering_key) for one in found] == [(message.id, "k")] * 2


@pytest.mark.parametrize("identity", ["order 17", "é", "x" * 127, "x" * 129, "\x00", "\U0001f600" * 300])
async def test_any_id_can_be_published_dead_lettered_and_put_back(shop: Lab, identity: str) -> None:
    async with shop.driver() as driver:
        queue = shop.entity("keyed")
        publisher = await driver.open_publisher(queue)
        await publisher.publish_batch([publisher.prepare(Outgoing(Message(b"x", {}, "k", identity)))])
        consuming = await consumer(shop, driver, "keyed")
        [received] = await consuming.receive_batch(10, wait=0)
        assert received.message.id == identity
        assert await consuming.settle_batch([ToDeadLetters(received, "Bad")]) == [None]
        letters = await driver.open_consumer(queue.dead_letters, prefetch=10, concurrency=1)
        [letter] = await letters.receive_batch(10, wait=0)
        assert letter.message.id == identity
        admin = await driver.open_admin()
        back = await admin.open_return(queue)
        outgoing = Outgoing(letter.message, moves=letter.moves + 1, token=letter.token)
        await back.publish_batch([back.prepare(outgoing)])
        [again] = await consuming.receive_batch(10, wait=0)
        assert (again.message.id, again.moves, again.message.ordering_key) == (identity, 2, "k")


@pytest.mark.parametrize(
    "message",
    [
        Message(b"x", {}, "k", "\ud800"),
        Message(b"x", {}, "k", 7),  # type: ignore[arg-type]
        Message(b"x", {}, "k", "i", None, "\ud800"),
        Message(b"x", {"a": "\ud800"}, "k", "i"),
        Message(b"x", {"a": 1}, "k", "i"),  # type: ignore[dict-item]
        Message(b"x", {"\ud800": "a"}, "k", "i"),
        Message(b"x", {}, "a b", "i"),
    ],
)
async def test_what_no_cloud_can_carry_is_refused_before_the_network(shop: Lab, message: Message) -> None:
    async with shop.driver(endpoint="http://127.0.0.1:9") as driver:
        publisher = await driver.open_publisher(shop.entity("keyed"))
        fault = publisher.prepare(Outgoing(message))
        assert isinstance(fault, Fault)
        assert fault.kind is FaultKind.INVALID
