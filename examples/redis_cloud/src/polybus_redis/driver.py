"""The driver; what it asks of Redis is in redis.lua."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from polybus import driver as api
from polybus import portable
from polybus.binding import Binding, Entity
from polybus.clock import Clock, SystemClock, wait_for
from polybus.errors import BackendError, BindingError, ConfigError, Fault, FaultKind
from polybus.feature import Feature
from polybus.message import Message, Sent
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES
from polybus_redis.planning import DEFAULT_SIZE, MAX_SIZE

__all__ = ["RedisDriver"]

MAX_ATTRIBUTES = 1_000
LIMITS = api.BatchLimits(count=100, total_bytes=MAX_SIZE)
LOST = Fault(FaultKind.LEASE_LOST, "its lease is over, and it comes again")
ANSWERS = (LOST, None, Fault(FaultKind.INVALID, "a dead letter can't be dead-lettered again"))  # by redis.lua's numbers
LOSES = (
    'redis may lose what it accepts: set "appendonly yes" and "maxmemory-policy noeviction" there, or durability = '
    '"none" in the binding\'s settings'
)

# The first that fits: redis-py's errors of credentials and rights are ConnectionErrors too.
FAULTS: Mapping[FaultKind, tuple[type[Exception], ...]] = {
    FaultKind.INVALID: (ConfigError,),
    FaultKind.UNAUTHENTICATED: (exceptions.AuthenticationError,),
    FaultKind.DENIED: (exceptions.AuthorizationError, exceptions.NoPermissionError),
    FaultKind.THROTTLED: (exceptions.OutOfMemoryError,),
    FaultKind.TIMEOUT: (exceptions.TimeoutError,),
    FaultKind.UNAVAILABLE: (exceptions.ConnectionError, exceptions.ReadOnlyError, OSError),
}
# Of codes without a class: the first word of a ResponseError. NOENTITY is redis.lua's.
CODES = {
    "NOENTITY": FaultKind.NOT_FOUND,
    "WRONGTYPE": FaultKind.INVALID,
    **dict.fromkeys(("MISCONF", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS"), FaultKind.UNAVAILABLE),
}

Receipt = tuple[bytes, int]
Wire = list[bytes]


class RedisDriver:
    def __init__(self, binding: Binding, clock: Clock) -> None:
        self.binding, self.clock = binding, clock
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

    async def conf(self, entity: Entity) -> Mapping[Any, Any]:
        conf = await self.client.hgetall(f"{entity.address}:conf")
        if not conf:
            detail = f"{entity.kind.value} {entity.name!r} on redis: nothing is provisioned at {entity.address!r}"
            raise BackendError(Fault(FaultKind.NOT_FOUND, detail))
        return conf

    async def open_publisher(self, target: Entity) -> Publisher:
        await self.conf(target)
        if self.binding.settings.get("durability") != "none":
            info: Mapping[str, Any] = await self.client.info("persistence", "memory")
            if not info["aof_enabled"] or str(info["maxmemory_policy"]).startswith("allkeys"):
                raise BackendError(Fault(FaultKind.INVALID, LOSES))
        return Publisher(self, target)

    async def open_consumer(self, source: Entity, *, prefetch: int, concurrency: int) -> Consumer:
        await self.conf(source)
        return Consumer(self, source)

    async def open_admin(self) -> Admin:
        return Admin(self)

    def features(self, entity: Entity) -> Feature:
        able = Feature.DELAY | Feature.NACK_DELAY | Feature.PEEK | Feature.COUNTS | Feature.AGE
        able |= Feature.CONSISTENT | Feature.ATTEMPTS | Feature.EXACTLY_ONCE
        return able | (Feature.ORDERING if entity.ordered else Feature.NONE)

    def fault(self, error: Exception) -> Fault:
        if isinstance(error, BackendError):
            return error.fault
        code = str(error).partition(" ")[0] if isinstance(error, exceptions.ResponseError) else ""
        known = next((kind for kind, each in FAULTS.items() if isinstance(error, each)), CODES.get(code))
        if known is None:
            return Fault(FaultKind.INTERNAL, f"redis: {type(error).__name__}")
        return Fault(known, f"redis: {error}", code if code in CODES else None)

    def raw(self, entity: Entity) -> object:
        return self.client, entity.address

    async def aclose(self) -> None:
        await self.client.aclose()
        await self.waiting.aclose()


class Part:
    """What is opened; nothing is held but the driver."""

    limits = LIMITS

    def __init__(self, driver: RedisDriver) -> None:
        self.driver = driver

    async def aclose(self) -> None:
        pass


class Publisher(Part):
    def __init__(self, driver: RedisDriver, target: Entity, *, returns: bool = False) -> None:
        super().__init__(driver)
        self.target, self.returns = target, returns

    def prepare(self, outgoing: api.Outgoing) -> api.Prepared[Wire] | Fault:
        wrong = portable.problem(outgoing, self.target, "redis", moved=self.returns)
        if wrong is not None:
            return wrong
        if (count := len(outgoing.message.attributes)) > MAX_ATTRIBUTES:
            return portable.invalid(self.target, "redis", f"{count} attributes; the limit is {MAX_ATTRIBUTES}")
        wire = encode(outgoing, moved=self.returns)
        size, limit = sum(map(len, wire)), self.target.max_size or DEFAULT_SIZE
        if size > limit - DEAD_LETTER_RESERVE_BYTES:
            return portable.too_large(self.target, "redis", size, limit)
        return api.Prepared(outgoing, size, wire)

    async def publish_batch(self, batch: Sequence[api.Prepared[Wire]]) -> Sequence[Sent | Fault]:
        words = [word for each in batch for word in (len(each.wire), *each.wire)]
        await self.driver.run("publish", self.target, int(self.returns), *words)  # all of them, or it raises
        return [Sent(each.outgoing.message.id) for each in batch]


class Consumer(Part):
    def __init__(self, driver: RedisDriver, source: Entity) -> None:
        super().__init__(driver)
        self.source, self.clock = source, driver.clock
        topic = driver.binding.topics.get(source.topic or "")
        self.streams = (source.address, f"{source.address}:news", topic.address if topic else "")
        self.stopped, self.reading = False, asyncio.ensure_future(asyncio.sleep(0))

    async def receive_batch(self, count: int, *, wait: float) -> Sequence[api.Received[Receipt]]:
        lease, deadline = self.source.lease, self.clock.monotonic() + wait
        while not self.stopped:
            began = self.clock.monotonic()
            entries, due, *ends = await self.driver.run("claim", self.source, count, round(lease * 1000))
            if entries or self.clock.monotonic() >= deadline:
                return [self.received(each, began + lease) for each in entries]
            until = deadline if due < 0 else min(deadline, began + due / 1000)
            await self.news(until - self.clock.monotonic(), ends)
        return []

    def received(self, entry: Sequence[Any], until: float) -> api.Received[Receipt]:
        message, own = decode(entry)
        moves, letters = int(own["m"]) if own.get("m", "").isdecimal() else 0, self.source.dead_letter is None
        return api.Received(
            message,
            attempt=entry[1],
            lease_until=until,
            receipt=(entry[0], entry[2]),
            group=message.ordering_key if self.source.ordered and not letters else None,
            redelivered=entry[1] > 1 or moves > 0,
            moves=moves,
            reason=own.get("r"),
            description=own.get("d"),
            token=entry[0].decode(),
        )

    async def news(self, seconds: float, ends: Sequence[bytes | None]) -> None:
        """Wait until something is added to a stream, the time is over, or `stop` is called."""
        known = {stream: end for stream, end in zip(self.streams, ends, strict=True) if stream and end}
        words = ("COUNT", 1, "BLOCK", max(round(seconds * 1000), 0) + 1, "STREAMS", *known, *known.values())
        self.reading = asyncio.ensure_future(self.driver.waiting.execute_command("XREAD", *words))
        with contextlib.suppress(TimeoutError):
            await wait_for(self.clock, asyncio.wait([self.reading]), seconds)
        self.reading.cancel()
        await asyncio.wait([self.reading])
        if not self.reading.cancelled():
            self.reading.result()

    async def settle_batch(self, settlements: Sequence[api.Settlement[Receipt]]) -> Sequence[Fault | None]:
        words: list[Any] = []
        for each in settlements:
            match each:
                case api.Ack():
                    words += ("ack", *each.received.receipt, "", "")
                case api.Nack(delay=delay, attempts=attempts):
                    made = "" if attempts is None else attempts
                    words += ("nack", *each.received.receipt, round(delay * 1000), made)
                case api.DeadLetter(reason=reason, description=description):
                    texts = (text.encode(errors="backslashreplace") for text in (reason, description))
                    words += ("dead", *each.received.receipt, *texts)
        return [ANSWERS[answer] for answer in await self.driver.run("settle", self.source, *words)]

    async def extend_batch(
        self, received: Sequence[api.Received[Receipt]], seconds: float
    ) -> Sequence[api.LeaseUntil | Fault]:
        until = api.LeaseUntil(self.clock.monotonic() + seconds)
        receipts = [word for each in received for word in each.receipt]
        answers = await self.driver.run("extend", self.source, round(seconds * 1000), *receipts)
        return [until if answer else LOST for answer in answers]

    async def stop(self) -> Sequence[api.Received[Receipt]]:
        self.stopped = True
        self.reading.cancel()
        return []  # nothing is buffered here


class Admin(Part):
    async def ping(self) -> None:
        await self.driver.client.ping()

    async def describe(self, entity: Entity) -> Mapping[str, Any]:
        conf = await self.driver.conf(entity)
        return {"key": entity.address, **{name.decode(): value.decode() for name, value in conf.items()}}

    async def stats(self, entity: Entity) -> api.Stats:
        waiting, leased, delayed, dead, oldest = await self.driver.run("stats", entity)
        return api.Stats(waiting, leased, delayed, dead, oldest / 1000 if oldest >= 0 else None)

    async def peek(self, entity: Entity, count: int, after: str | None = None) -> Sequence[api.Peeked]:
        entries = await self.driver.run("peek", entity, count, f"({after}" if after else "-")
        found = [(entry, *decode(entry)) for entry in entries]
        return [
            api.Peeked(entry[0].decode(), message, entry[1], own.get("r"), own.get("d"), int(entry[2]) / 1000)
            for entry, message, own in found
        ]

    async def purge(self, entity: Entity) -> int | None:
        total, start = 0, b"-"
        while start:
            count, start = await self.driver.run("purge", entity, start)
            total += count
        return total

    async def open_return(self, source: Entity) -> Publisher:
        await self.driver.conf(source)
        return Publisher(self.driver, source, returns=True)


def encode(outgoing: api.Outgoing, *, moved: bool) -> Wire:
    """Give a message as the fields of a stream's entry: name, value, name, value; ours begin with a colon."""
    message = outgoing.message
    sent = round(message.published_at * 1000) if moved and message.published_at is not None else None
    own = {
        "id": message.id,
        "key": message.ordering_key,
        "type": message.content_type,
        "delay": round(outgoing.delay * 1000) or None,
        "m": outgoing.moves or None,
        "t": sent,
    }
    texts = {f":{name}": str(value) for name, value in own.items() if value is not None} | dict(message.attributes)
    return [b":body", bytes(message.body), *(text.encode() for pair in texts.items() for text in pair)]


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
