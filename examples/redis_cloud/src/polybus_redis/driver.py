"""The driver; what it asks of Redis is in redis.lua."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, ClassVar

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from polybus.backend import BaseDriver, BasePublisher, Polled, PollingConsumer
from polybus.binding import Binding, Entity
from polybus.clock import Clock, SystemClock
from polybus.driver import BatchLimits, Nack, Outgoing, Peeked, Prepared, Received, Stats, ToDeadLetters
from polybus.errors import BackendError, BindingError, Fault, FaultKind
from polybus.feature import Feature
from polybus.message import Message, Sent
from polybus.portable import invalid
from polybus_redis.planning import DEFAULT_SIZE, MAX_SIZE

__all__ = ["RedisDriver"]

MAX_ATTRIBUTES = 1_000
LIMITS = BatchLimits(count=100, total_bytes=MAX_SIZE)
LOST = Fault(FaultKind.LEASE_LOST, "its lease is over, and it comes again")
LOSES = (
    'redis may lose what it accepts: set "appendonly yes" and "maxmemory-policy noeviction" there, or durability = '
    '"none" in the binding\'s settings'
)
Receipt = tuple[bytes, int]
Wire = list[bytes]


class RedisDriver(BaseDriver):
    name = "redis"
    faults: ClassVar[Mapping[type[BaseException], FaultKind]] = {
        exceptions.AuthenticationError: FaultKind.UNAUTHENTICATED,
        exceptions.AuthorizationError: FaultKind.DENIED,
        exceptions.NoPermissionError: FaultKind.DENIED,
        exceptions.OutOfMemoryError: FaultKind.THROTTLED,
        exceptions.TimeoutError: FaultKind.TIMEOUT,
        exceptions.ConnectionError: FaultKind.UNAVAILABLE,
        exceptions.ReadOnlyError: FaultKind.UNAVAILABLE,
        OSError: FaultKind.UNAVAILABLE,
    }
    # Of what has no class: the first word of a ResponseError. NOENTITY is redis.lua's.
    codes: ClassVar[Mapping[str, FaultKind]] = {
        "NOENTITY": FaultKind.NOT_FOUND,
        "WRONGTYPE": FaultKind.INVALID,
        **dict.fromkeys(("MISCONF", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS"), FaultKind.UNAVAILABLE),
    }

    def __init__(self, binding: Binding, clock: Clock) -> None:
        super().__init__(binding, clock)
        self.client = self.connect(float(binding.settings.get("timeout", 10)))
        self.waiting: Any = self.connect(None)  # for reads that block: the consumer ends them
        script = (files("polybus_redis") / "redis.lua").read_text()
        # What consumes goes on where Redis is full: else nothing would make room.
        self.consuming = self.client.register_script(f"#!lua flags=allow-oom\n{script}")
        self.publishing = self.client.register_script(f"#!lua\n{script}")

    def connect(self, timeout: float | None) -> redis.asyncio.Redis:
        url = self.binding.settings.get("url")
        if not isinstance(url, str):
            raise BindingError("settings.url of the binding: a Redis URL is needed, such as redis://127.0.0.1:6379")
        user, password = os.environ.get("REDIS_USERNAME"), os.environ.get("REDIS_PASSWORD")
        once = Retry(NoBackoff(), 0)  # the bus tries again
        return redis.asyncio.from_url(
            url, username=user, password=password, socket_timeout=timeout, retry=once, protocol=2
        )

    async def run(self, operation: str, entity: Entity, *words: Any) -> Any:
        script = self.publishing if operation == "publish" else self.consuming
        # Redis's time is what counts; a clock that a test moves is ahead of it by so many ms.
        ahead = 0 if isinstance(self.clock, SystemClock) else round((self.clock.time() - time.time()) * 1000)
        return await script(keys=[entity.address], args=[operation, ahead, *words])

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        conf: Mapping[Any, Any] = await self.client.hgetall(f"{entity.address}:conf")
        if not conf:
            detail = f"{entity.kind.value} {entity.name!r} on redis: nothing is provisioned at {entity.address!r}"
            raise BackendError(Fault(FaultKind.NOT_FOUND, detail))
        return {"key": entity.address, **{name.decode(): value.decode() for name, value in conf.items()}}

    async def open_publisher(self, target: Entity, *, returns: bool = False) -> Publisher:
        await self.describe(target)
        if not returns and self.binding.settings.get("durability") != "none":
            info: Mapping[str, Any] = await self.client.info("persistence", "memory")
            if not info["aof_enabled"] or str(info["maxmemory_policy"]).startswith("allkeys"):
                raise BackendError(Fault(FaultKind.INVALID, LOSES))
        return Publisher(self, target, returns=returns)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> Consumer:
        await self.describe(source)
        return Consumer(self, source)

    def features(self, entity: Entity) -> Feature:
        able = Feature.DELAY | Feature.NACK_DELAY | Feature.PEEK | Feature.COUNTS | Feature.AGE
        able |= Feature.CONSISTENT | Feature.ATTEMPTS  # not EXACTLY_ONCE: a lost answer may leave a second copy
        return able | (Feature.ORDERING if entity.keeps_order else Feature.NONE)

    def code(self, error: Exception) -> str | None:
        code = str(error).partition(" ")[0] if isinstance(error, exceptions.ResponseError) else None
        return code if code in self.codes else None

    def raw(self, entity: Entity) -> object:
        return self.client, entity.address

    async def ping(self) -> None:
        await self.client.ping()

    async def stats(self, entity: Entity) -> Stats:
        waiting, leased, delayed, dead, oldest = await self.run("stats", entity)
        return Stats(waiting, leased, delayed, dead, oldest / 1000 if oldest >= 0 else None)

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[Peeked]:
        entries = await self.run("peek", entity, count, f"({after}" if after else "-")
        found = [(entry, *decode(entry)) for entry in entries]
        return [
            Peeked(entry[0].decode(), message, entry[1], own.get("r"), own.get("d"), int(entry[2]) / 1000)
            for entry, message, own in found
        ]

    async def purge(self, entity: Entity) -> int | None:
        total, start = 0, b"-"
        while start:
            count, start = await self.run("purge", entity, start)
            total += count
        return total

    async def aclose(self) -> None:
        await self.client.aclose()
        await self.waiting.aclose()


class Publisher(BasePublisher[Wire]):
    driver: RedisDriver
    limits, max_size = LIMITS, DEFAULT_SIZE

    def encode(self, outgoing: Outgoing) -> tuple[Wire, int] | Fault:
        """Give a message as the fields of a stream's entry: name, value, name, value; ours begin with a colon."""
        message = outgoing.message
        if (count := len(message.attributes)) > MAX_ATTRIBUTES:
            return invalid(self.target, "redis", f"{count} attributes; the limit is {MAX_ATTRIBUTES}")
        sent = round(message.published_at * 1000) if self.returns and message.published_at is not None else None
        own = {
            "id": message.id,
            "key": message.ordering_key,
            "type": message.content_type,
            "delay": round(outgoing.delay * 1000) or None,
            "m": outgoing.moves or None,
            "t": sent,
        }
        texts = {f":{name}": str(value) for name, value in own.items() if value is not None} | dict(message.attributes)
        wire = [b":body", bytes(message.body), *(text.encode() for pair in texts.items() for text in pair)]
        return wire, sum(map(len, wire))

    async def publish_batch(self, batch: Sequence[Prepared[Wire]]) -> Sequence[Sent | Fault]:
        words = [word for each in batch for word in (len(each.wire), *each.wire)]
        try:
            await self.driver.run("publish", self.target, int(self.returns), *words)  # all of them, or it raises
        except BaseException:
            for each in batch:  # it may have been done all the same: the next try is a second copy
                each.wire.extend((b":again", b"1"))
            raise
        return [Sent(each.outgoing.message.id) for each in batch]


class Consumer(PollingConsumer[Receipt]):
    driver: RedisDriver
    limits = LIMITS

    def __init__(self, driver: RedisDriver, source: Entity) -> None:
        super().__init__(driver, source)
        topic = driver.binding.topics.get(source.topic or "")
        self.streams = (source.address, f"{source.address}:news", topic.address if topic else "")
        self.ends: Sequence[bytes | None] = ()

    async def poll(self, count: int) -> tuple[Sequence[Polled[Receipt]], float | None]:
        lease = round(self.source.lease * 1000)
        entries, due, *self.ends = await self.driver.run("claim", self.source, count, lease)
        return [polled(each) for each in entries], due / 1000 if due >= 0 else None

    async def wait(self, seconds: float) -> None:
        """Read the streams from where the poll saw their ends."""
        known = {stream: end for stream, end in zip(self.streams, self.ends, strict=True) if stream and end}
        words = ("COUNT", 1, "BLOCK", round(seconds * 1000) + 1, "STREAMS", *known, *known.values())
        await self.driver.waiting.execute_command("XREAD", *words)

    async def ack(self, received: Sequence[Received[Receipt]]) -> Sequence[Fault | None]:
        return await self.settle("ack", [(each, "", "") for each in received])

    async def nack(self, nacks: Sequence[Nack[Receipt]]) -> Sequence[Fault | None]:
        made = ["" if each.attempts is None else each.attempts for each in nacks]
        return await self.settle(
            "nack", [(each.received, round(each.delay * 1000), n) for each, n in zip(nacks, made, strict=True)]
        )

    async def dead_letter(self, letters: Sequence[ToDeadLetters[Receipt]]) -> Sequence[Fault | None]:
        return await self.settle("dead", [(each.received, each.reason, each.description) for each in letters])

    async def settle(self, what: str, items: Sequence[tuple[Received[Receipt], Any, Any]]) -> Sequence[Fault | None]:
        words = [word for received, one, other in items for word in (what, *received.receipt, one, other)]
        return [None if done else LOST for done in await self.driver.run("settle", self.source, *words)]

    async def extend(self, received: Sequence[Received[Receipt]], seconds: float) -> Sequence[float | Fault]:
        receipts = [word for each in received for word in each.receipt]
        answers = await self.driver.run("extend", self.source, round(seconds * 1000), *receipts)
        return [seconds if answer else LOST for answer in answers]


def polled(entry: Sequence[Any]) -> Polled[Receipt]:
    message, own = decode(entry)
    moves = int(own["m"]) if own.get("m", "").isdecimal() else 0
    why, again = (own.get("r"), own.get("d")), True if "again" in own else None
    return Polled(message, (entry[0], entry[2]), entry[1], moves, *why, entry[0].decode(), redelivered=again)


def decode(entry: Sequence[Any]) -> tuple[Message, Mapping[str, str]]:
    """Give the message, and our own fields without their colons; foreign text that isn't UTF-8 is escaped."""
    identity, _, _, born, fields = entry
    found = dict(zip(fields[::2], fields[1::2], strict=True))
    body = found.pop(b":body", b"")
    texts = {
        name.decode(errors="backslashreplace"): value.decode(errors="backslashreplace") for name, value in found.items()
    }
    own = {name[1:]: value for name, value in texts.items() if name.startswith(":")}
    attributes = {name: value for name, value in texts.items() if not name.startswith(":")}
    number = own.get("id") or identity.decode()
    return Message(body, attributes, own.get("key"), number, int(born) / 1000, own.get("type")), own
