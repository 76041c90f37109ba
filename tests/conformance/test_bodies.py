"""Bodies elsewhere, and sealed ones, on every backend.

B1  a body over the limit comes back as it was published, and its message holds a reference alone; others stay
B2  what isn't what was stored is dead-lettered with the reason, no handler is called with it
B3  a reference to anything outside of the bus's own is dead-lettered with the reason
B4  an ack, a dead letter and a redrive leave the object where it is
B5  where nothing can be stored nothing is published; where nothing can be fetched the message comes again
B6  a Blob is fetched by the handler that asks for it, and refused in the same way
B7  sealed messages come back as they were, are stored sealed, and what can't be opened is dead-lettered as it came
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from polybus.app import App
from polybus.blobs import Blob, BlobRefused, Blobs
from polybus.blobs.blob import REFERENCE
from polybus.bus.bus import Bus
from polybus.bus.connect import connect
from polybus.bus.delivery import Delivery
from polybus.driver import Peeked
from polybus.encryption import Encryption
from polybus.encryption.sealed import SEALED
from polybus.errors import PublishFailed
from polybus.message import Message
from polybus.middleware import Middleware
from polybus.telemetry import Hooks
from polybus.testing.conformance.suite import Suite
from polybus.testing.environment import Environment, Recorder
from polybus.testing.rigs import MemoryRig, SqliteRig
from polybus.testing.topology import BACKOFF, MAX_ATTEMPTS

from .live import choose
from .rig_aws import AwsRig
from .rig_azure import AzureRig
from .rig_gcp import GcpRig

OVER = 1_000
ATTRIBUTES = {"region": "eu", "odd": "\x00\n", "empty": ""}
RING = {"k1": bytes(range(32)), "k2": bytes(range(1, 33))}


class Kept(msgspec.Struct):
    """What is published with a body of its own inside."""

    name: str
    weights: Blob


@asynccontextmanager
async def bus_of(env: Environment, *middleware: Middleware, hooks: Sequence[Hooks] = ()) -> AsyncIterator[Bus]:
    """Connect a bus with middleware."""
    driver = env.rig.driver(env.binding)
    async with connect(env.binding, driver=driver, clock=env.clock, middleware=middleware, hooks=hooks) as bus:
        yield bus


def blobs_in(folder: str | Path, env: Environment, encryption: Encryption | None = None) -> Blobs:
    return Blobs(Path(folder), bus="conformance", over=OVER, clock=env.clock, encryption=encryption)


def stored(folder: str | Path) -> list[Path]:
    return sorted(each for each in Path(folder).rglob("*") if each.is_file())


class Seen:
    """A handler that keeps what it was called with, and fails as often as it is told."""

    def __init__(self, fails: int = 0, then: Callable[[Delivery], Awaitable[None]] | None = None) -> None:
        self.messages: list[Message] = []
        self._fails = fails
        self._then = then

    async def __call__(self, delivery: Delivery) -> None:
        self.messages.append(delivery.message)
        if self._then is not None:
            await self._then(delivery)
        if len(self.messages) <= self._fails:
            raise ValueError("it never works")


async def received(env: Environment, bus: Bus, source: str, count: int = 1) -> list[Message]:
    """Have a handler called, and return its messages."""
    seen = Seen()
    async with env.work(source, seen, bus=bus):
        await env.until(lambda: len(seen.messages) >= count, f"{count} messages")
    return seen.messages


async def buried(env: Environment, bus: Bus, source: str, identity: str, attempts: int = 1) -> tuple[Seen, Peeked]:
    """Have a message handled that can't be, and return its dead letter."""
    seen = Seen()
    async with env.work(source, seen, bus=bus):
        for _ in range(attempts - 1):
            await env.advance(BACKOFF.maximum + 1)
        letter = await env.letter(source, identity)
    return seen, letter


def in_the_way(folder: str) -> None:
    Path(folder, "polybus").write_text("in the way")


def tampered(path: Path) -> None:
    body = bytearray(path.read_bytes())
    body[-1] ^= 1
    path.write_bytes(bytes(body))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


class Bodies(Suite):
    """B1 to B7."""

    async def test_B1_a_body_over_the_limit_comes_back_as_it_was(self, env: Environment) -> None:
        bodies = [os.urandom(OVER + 1), os.urandom(300_000), b"x" * OVER, b""]
        with tempfile.TemporaryDirectory() as folder:
            async with bus_of(env, blobs_in(folder, env)) as bus:
                for target, source in (("tasks", "tasks"), ("events", "audit")):
                    ids = [
                        await bus.publish(target, Message(body, ATTRIBUTES, None, "", None, "image/png"))
                        for body in bodies
                    ]
                    found = {each.id: each for each in await received(env, bus, source, len(bodies))}
                    for identity, body in zip(ids, bodies, strict=True):
                        message = found[identity]
                        assert (message.body, message.content_type) == (body, "image/png")
                        assert dict(message.attributes) == ATTRIBUTES
            assert len(stored(folder)) == 4, "the two that are over the limit, for each target"
        await self._drained(env, "billing", len(bodies))

    async def test_B1_the_message_holds_a_reference_alone(self, env: Environment) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with bus_of(env, blobs_in(folder, env)) as bus, bus_of(env) as plain:
                identity = await bus.publish("tasks", b"x" * (OVER + 1))
                [message] = await received(env, plain, "tasks")
            [path] = stored(folder)
            assert message.id == identity
            assert message.content_type == REFERENCE
            reference = json.loads(message.body)
            assert reference.keys() == {"blob", "size", "sha256", "type"}
            assert reference["size"] == OVER + 1
            assert Path(folder, reference["blob"]) == path

    async def test_B2_what_was_changed_is_dead_lettered_and_not_handled(self, env: Environment) -> None:
        for change in (tampered, truncated):
            with tempfile.TemporaryDirectory() as folder:
                async with bus_of(env, blobs_in(folder, env)) as bus:
                    identity = await bus.publish("tasks", b"x" * (OVER + 1), attributes=ATTRIBUTES)
                    change(stored(folder)[0])
                    seen, letter = await buried(env, bus, "tasks", identity)
            assert seen.messages == []
            assert letter.reason == "BlobRefused"
            assert letter.message.content_type == REFERENCE
            assert dict(letter.message.attributes) == ATTRIBUTES

    async def test_B2_another_s_object_in_its_place_is_dead_lettered(self, env: Environment) -> None:
        with tempfile.TemporaryDirectory() as folder:
            blobs = blobs_in(folder, env)
            async with bus_of(env, blobs) as bus, bus_of(env) as plain:
                mine, other = await blobs.put(b"a" * 2_000), await blobs.put(b"b" * 2_000)
                swapped = msgspec.structs.replace(mine, key=other.key)
                forged = Message(swapped.to_body(), {}, None, "", None, REFERENCE)
                seen, letter = await buried(env, bus, "tasks", await plain.publish("tasks", forged))
            assert (seen.messages, letter.reason) == ([], "BlobRefused")

    async def test_B3_a_reference_to_anything_else_is_dead_lettered(self, env: Environment) -> None:
        with tempfile.TemporaryDirectory() as folder:
            async with bus_of(env, blobs_in(folder, env)) as bus, bus_of(env) as plain:
                theirs = await Blobs(Path(folder), bus="bank").put(b"theirs")
                bodies: Iterable[bytes] = (theirs.to_body(), b'{"blob":"/etc/passwd"}', b"nothing of the kind", b"")
                for body in bodies:
                    forged = Message(body, {}, None, "", None, REFERENCE)
                    seen, letter = await buried(env, bus, "tasks", await plain.publish("tasks", forged))
                    assert (seen.messages, letter.reason) == ([], "BlobRefused")

    async def test_B4_a_dead_letter_and_its_redrive_have_the_object_still(self, env: Environment) -> None:
        body = os.urandom(OVER + 1)
        recorder = Recorder()
        with tempfile.TemporaryDirectory() as folder:
            async with bus_of(env, blobs_in(folder, env), hooks=[recorder]) as bus:
                identity = await bus.publish("jobs", body)
                seen = Seen(fails=MAX_ATTEMPTS)
                async with env.work("jobs", seen, bus=bus):
                    for attempt in range(1, MAX_ATTEMPTS + 1):
                        # The backoff begins with the settlement.
                        await env.until(lambda attempt=attempt: len(recorder.outcomes) >= attempt, "an attempt")  # type: ignore[misc]
                        await env.advance(BACKOFF.maximum + 1)
                    letter = await env.letter("jobs", identity)
                    assert letter.message.content_type == REFERENCE, "the letter is the message as it came"
                    await env.hasten(bus.dead_letters("jobs").redrive())
                    await env.until(lambda: len(seen.messages) > MAX_ATTEMPTS, "the redriven message")
            assert {each.body for each in seen.messages} == {body}
            assert len(stored(folder)) == 1

    async def test_B5_what_can_t_be_stored_isn_t_published(self, env: Environment) -> None:
        with tempfile.TemporaryDirectory() as folder:
            blobs = blobs_in(folder, env)
            in_the_way(folder)
            async with bus_of(env, blobs) as bus:
                fault = await env.refused(bus.publish("tasks", b"x" * (OVER + 1)))
                assert str(folder) in fault.detail
                with pytest.raises(PublishFailed) as failed:
                    await bus.publish_many("tasks", [b"x" * (OVER + 1), b"small"])
                assert len(failed.value.faults) == 1
                [message] = await received(env, bus, "tasks")
                assert message.body == b"small"

    async def test_B5_what_can_t_be_fetched_comes_again(self, env: Environment) -> None:
        recorder = Recorder()
        with tempfile.TemporaryDirectory() as folder:
            async with bus_of(env, blobs_in(folder, env), hooks=[recorder]) as bus:
                identity = await bus.publish("tasks", b"x" * (OVER + 1))
                [path] = stored(folder)
                away = path.rename(path.with_suffix(".away"))
                seen = Seen()
                async with env.work("tasks", seen, bus=bus):
                    await env.until(lambda: recorder.outcomes == [(identity, "nack")], "the failed attempt")
                    away.rename(path)
                    await env.hasten(env.until(lambda: bool(seen.messages), "another attempt"))
            assert [each.id for each in seen.messages] == [identity]

    async def test_B6_a_blob_is_fetched_by_the_handler_that_asks(self, env: Environment) -> None:
        body = os.urandom(3_000_000)
        got: list[bytes] = []

        with tempfile.TemporaryDirectory() as folder:
            blobs = blobs_in(folder, env)
            app = App(middleware=[blobs])

            @app.handler("tasks")
            async def keep(kept: Kept) -> None:
                got.append(await kept.weights.read())

            async with bus_of(env, blobs) as bus:
                await bus.publish("tasks", Kept("v1", await blobs.put(body)))
                async with app.running(bus=bus):
                    await env.until(lambda: bool(got), "the blob")
                changed = await blobs.put(body)
                tampered(Path(folder, changed.key))
                identity = await bus.publish("tasks", Kept("v2", changed))
                async with app.running(bus=bus):
                    letter = await env.letter("tasks", identity)
        assert got == [body]
        assert letter.reason == BlobRefused("").reason

    async def test_B7_sealed_messages_come_back_as_they_were(self, env: Environment) -> None:
        encryption = Encryption(RING.__getitem__, "k1", context="conformance", clear=("region",))
        secret = b"the price is 12"
        async with bus_of(env, encryption) as bus, bus_of(env) as plain:
            for target, source in (("tasks", "tasks"), ("events", "audit"), ("serial", "serial")):
                key = "c7" if target == "serial" else None
                identity = await bus.publish(
                    target, Message(secret, ATTRIBUTES, key, "", None, "text/plain"), ordering_key=key
                )
                [message] = await received(env, bus, source)
                assert (message.id, message.body, message.content_type) == (identity, secret, "text/plain")
                assert (dict(message.attributes), message.ordering_key) == (ATTRIBUTES, key)
            await bus.publish("tasks", Message(secret, ATTRIBUTES))
            [wire] = await received(env, plain, "tasks")
            assert (wire.content_type, dict(wire.attributes)) == (SEALED, {"region": "eu"})
            assert secret not in wire.body
        await self._drained(env, "billing", 1)

    async def test_B7_what_can_t_be_opened_is_dead_lettered_as_it_came(self, env: Environment) -> None:
        async with (
            bus_of(env, Encryption(RING.__getitem__, "k2", context="conformance")) as publisher,
            bus_of(env, Encryption({"k1": RING["k1"]}.__getitem__, "k1", context="conformance")) as bus,
            bus_of(env) as plain,
        ):
            unknown = await publisher.publish("tasks", b"secret")
            for identity in (unknown, await plain.publish("tasks", b"in clear")):
                seen, letter = await buried(env, bus, "tasks", identity)
                assert (seen.messages, letter.reason) == ([], "DecryptionFailed")
                assert letter.message.body == b"in clear" or letter.message.content_type == SEALED

    async def test_B7_a_sealed_message_is_redriven_and_opened(self, env: Environment) -> None:
        encryption = Encryption(RING.__getitem__, "k1", context="conformance")
        async with bus_of(env, encryption) as bus:
            identity = await bus.publish("fragile", b"secret", attributes=ATTRIBUTES)
            seen = Seen(fails=1)
            async with env.work("fragile", seen, bus=bus):
                await env.letter("fragile", identity)
                await env.hasten(bus.dead_letters("fragile").redrive())
                await env.until(lambda: len(seen.messages) == 2, "the redriven message")
        assert [(each.body, dict(each.attributes)) for each in seen.messages] == [(b"secret", ATTRIBUTES)] * 2

    async def test_B7_large_bodies_are_stored_sealed(self, env: Environment) -> None:
        secret = b"the price is 12" * 200
        encryption = Encryption(RING.__getitem__, "k1", context="conformance")
        with tempfile.TemporaryDirectory() as folder:
            async with bus_of(env, blobs_in(folder, env, encryption)) as bus:
                await bus.publish("tasks", secret, attributes=ATTRIBUTES)
                [message] = await received(env, bus, "tasks")
            assert (message.body, dict(message.attributes)) == (secret, ATTRIBUTES)
            [path] = stored(folder)
            assert b"price" not in path.read_bytes()

    async def _drained(self, env: Environment, source: str, count: int) -> None:
        """Take what a topic's other subscription has got."""
        await received(env, env.bus, source, count)


class TestMemory(Bodies):
    rig = MemoryRig


class TestSqlite(Bodies):
    rig = SqliteRig


class TestAws(Bodies):
    rig = choose("aws", AwsRig)


class TestAzure(Bodies):
    rig = choose("azure", AzureRig)


class TestGcp(Bodies):
    rig = choose("gcp", GcpRig)
