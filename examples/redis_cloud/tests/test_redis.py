"""The conformance suite on Redis, with a redis-server of its own; the same again by Redis's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

import msgspec
import redis.asyncio
from redis import exceptions

from polybus.binding import Binding, Entity
from polybus.errors import FaultKind
from polybus.localcloud.server import ThreadedServer, free_port
from polybus.plan.check import check
from polybus.testing.conformance import BaseRig, Conformance
from polybus.topology.model import Topology
from polybus_redis.local import LOCAL, RedisServer
from polybus_redis.planning import DEFAULT_SIZE, REDIS


class RedisRig(BaseRig):
    name = "redis"
    max_message = DEFAULT_SIZE
    foreign_attributes = MappingProxyType({"awsRequestId": "1", "content:type": "x", "with space": "y"})
    foreign_key = "customer 7"

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.server = RedisServer("127.0.0.1", 0, Path(self.folder.name))
        self.running = ThreadedServer(self.server)

    async def realise(self, topology: Topology) -> Binding:
        await asyncio.to_thread(self.running.start)
        self.client = redis.asyncio.from_url(self.server.url, protocol=2)
        return await asyncio.to_thread(LOCAL.realise, REDIS.plan(topology), self.server)

    async def drop(self) -> None:
        if hasattr(self, "client"):
            await self.client.aclose()
        await asyncio.to_thread(self.running.stop)
        self.folder.cleanup()

    def check(self, topology: Topology) -> Sequence[str]:
        return [f"{each.path}: {each.found}" for each in check(topology, "redis") if each.severity == "error"]

    def errors(self) -> Sequence[tuple[Exception, FaultKind]]:
        return [
            (exceptions.AuthenticationError("WRONGPASS"), FaultKind.UNAUTHENTICATED),
            (exceptions.NoPermissionError("no permissions"), FaultKind.DENIED),
            (exceptions.OutOfMemoryError("command not allowed"), FaultKind.THROTTLED),
            (exceptions.ResponseError("NOENTITY nothing is provisioned"), FaultKind.NOT_FOUND),
            (exceptions.ResponseError("MISCONF errors writing to disk"), FaultKind.UNAVAILABLE),
            (exceptions.ReadOnlyError("a replica"), FaultKind.UNAVAILABLE),
            (exceptions.BusyLoadingError("loading"), FaultKind.UNAVAILABLE),
            (exceptions.ConnectionError("refused"), FaultKind.UNAVAILABLE),
            (exceptions.TimeoutError("no answer"), FaultKind.TIMEOUT),
            (ConnectionResetError("reset"), FaultKind.UNAVAILABLE),
        ]

    def astray(self, binding: Binding) -> Binding | None:
        return msgspec.structs.replace(binding, settings={"url": f"redis://127.0.0.1:{free_port()}"})

    async def publish_foreign(
        self, target: Entity, body: bytes, attributes: Mapping[str, str], ordering_key: str | None
    ) -> None:
        key = {} if ordering_key is None else {":key": ordering_key}
        await self.client.xadd(target.address, {":body": body, **attributes, **key})

    async def receive_foreign(self, source: Entity) -> tuple[bytes, Mapping[str, str]]:
        [[_, [(identity, fields)]]] = await self.client.xread({source.address: "0"}, count=1, block=5000)
        await self.client.xdel(source.address, identity)
        body = fields.pop(b":body")
        return body, {name.decode(): value.decode() for name, value in fields.items()}


class TestRedis(Conformance):
    rig = RedisRig
