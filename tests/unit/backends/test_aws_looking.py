"""Looking at dead letters: each once, in whatever order SQS hands them out, and all given back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from polybus.binding import Entity
from polybus.clouds.aws.driver import look
from polybus.clouds.aws.driver.driver import AwsDriver

from .aws_lab import Lab, lab

TOPOLOGY = '[bus]\nname = "shop"\n[queues.jobs]\nlease = "1s"\n[queues.keyed]\nordered = true\n'


@pytest.fixture(scope="module")
def made() -> Iterator[Lab]:
    with pytest.MonkeyPatch.context() as patch, lab(TOPOLOGY, patch, sampling=11) as made:
        yield made


@pytest.fixture
def shop(made: Lab) -> Lab:
    made.empty()
    return made


async def bury(shop: Lab, driver: AwsDriver, name: str, count: int) -> tuple[Entity, set[str]]:
    """Put so many letters among the dead letters of a queue, and return those and their ids."""
    letters = shop.entity(name).dead_letters
    client, _ = driver.raw(letters)  # type: ignore[misc]
    ids: set[str] = set()
    for start in range(0, count, 10):
        entries = [{"Id": str(n), "MessageBody": f"{start + n}"} for n in range(min(10, count - start))]
        if name == "keyed":
            entries = [
                {**e, "MessageGroupId": f"g{e['MessageBody']}", "MessageDeduplicationId": e["MessageBody"]}
                for e in entries
            ]
        answer = await asyncio.to_thread(client.send_message_batch, QueueUrl=letters.address, Entries=entries)
        ids |= {each["MessageId"] for each in answer["Successful"]}
    return letters, ids


@pytest.mark.parametrize(("name", "count"), [("jobs", 0), ("jobs", 1), ("jobs", 170), ("keyed", 130)])
async def test_every_letter_is_seen_once_and_given_back(shop: Lab, name: str, count: int) -> None:
    async with shop.driver() as driver:
        letters, ids = await bury(shop, driver, name, count)
        admin = await driver.open_admin()
        found = await admin.peek(letters, 10_000)
        assert sorted(each.message.id for each in found) == sorted(ids)
        assert [each.at for each in found] == sorted(each.at or 0 for each in found)
        assert shop.counts(letters.address) == (count, 0)
        assert await admin.peek(letters, 10_000, found[-1].position if found else "x") == ()


async def test_a_look_brings_no_more_than_was_asked_for(shop: Lab) -> None:
    async with shop.driver() as driver:
        letters, _ = await bury(shop, driver, "jobs", 40)
        admin = await driver.open_admin()
        found = await admin.peek(letters, 25)
        assert len({each.message.id for each in found}) == len(found) == 25
        assert shop.counts(letters.address) == (40, 0)


async def test_a_long_look_keeps_what_it_has_seen(shop: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every receive takes as long as a third of the look's own lease."""
    async with shop.driver() as driver:
        letters, ids = await bury(shop, driver, "jobs", 60)
        admin = await driver.open_admin()
        real = look.receive_arguments

        def slow(*arguments: object) -> object:
            shop.clock.advance(40)
            return real(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(look, "receive_arguments", slow)
        found = await admin.peek(letters, 1_000)
        assert sorted(each.message.id for each in found) == sorted(ids)
        assert shop.counts(letters.address) == (60, 0)


async def test_a_look_that_is_cancelled_gives_everything_back(shop: Lab) -> None:
    async with shop.driver() as driver:
        letters, _ = await bury(shop, driver, "jobs", 100)
        admin = await driver.open_admin()
        looking = asyncio.create_task(admin.peek(letters, 1_000))
        async with asyncio.timeout(60):
            while not shop.counts(letters.address)[1]:  # noqa: ASYNC110 - the server's, in a thread of its own
                await asyncio.sleep(0)
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        assert shop.counts(letters.address) == (100, 0)


async def test_a_look_that_fails_gives_everything_back(shop: Lab) -> None:
    async with shop.driver() as driver:
        letters, _ = await bury(shop, driver, "jobs", 30)
        admin = await driver.open_admin()
        shop.server.fail_next("GetQueueAttributes", "AccessDenied", 403)
        [error] = await asyncio.gather(admin.peek(letters, 1_000), return_exceptions=True)
        assert isinstance(error, Exception)
        assert shop.counts(letters.address) == (30, 0)
