"""MessageBus on Redis under Pulumi's mocks, and what its resource does on a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from polybus.binding import Binding
from polybus.errors import ConfigError
from polybus.localcloud.server import running_in_thread
from polybus.plan.simple import SimplePlan
from polybus.provision.config import StackConfig
from polybus.topology.file import loads
from polybus_redis.local import RedisServer
from polybus_redis.planning import REDIS, RedisSettings
from polybus_redis.stack import PROVIDER, STREAMS

TOPOLOGY = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
filter = 'exists(region)'
[queues.jobs]
ordered = true
"""
# In a process of its own: Pulumi's SDK keeps one program's state for the life of a process.
PROGRAM = """
import json
import pulumi
from polybus.provision import MessageBus
from polybus_redis.planning import RedisSettings

class Mocks(pulumi.runtime.Mocks):
    made = {}
    def new_resource(self, args):
        inputs = {key: value for key, value in args.inputs.items() if key != "__provider"}
        if args.custom:
            self.made[args.name] = [args.typ, inputs, "__provider" in args.inputs]
        return inputs.get("name", ""), inputs
    def call(self, args):
        raise AssertionError(args.token)

pulumi.runtime.set_mocks(Mocks(), project="shop", stack="dev")

@pulumi.runtime.test
def program():
    bus = MessageBus("shop", topology="polybus.toml", cloud="redis", settings=RedisSettings("dev", "redis://r:6379"))
    return pulumi.Output.from_input(bus.binding).apply(Mocks.made.setdefault("binding", []).append)

program()
print(json.dumps(Mocks.made))
"""


def planned(url: str, text: str = TOPOLOGY) -> SimplePlan:
    return REDIS.plan(loads(text, source="shop.toml"), RedisSettings("dev", url))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_in_thread(RedisServer("127.0.0.1", 0, tmp_path)) as server:
        yield server


def test_a_bus_makes_one_resource_for_each_of_its_plan(tmp_path: Path, places: list[str]) -> None:
    (tmp_path / "polybus.toml").write_text(TOPOLOGY)
    path = os.pathsep.join((*places, *filter(None, (os.environ.get("PYTHONPATH"),))))
    words = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    [binding] = made.pop("binding")
    assert Binding.from_json(json.dumps(binding)).source("billing").address == "polybus:{shop-dev}:billing"
    assert made == {
        f"shop-{each.name}": ["pulumi-python:dynamic/redis:Stream", dict(each.properties), True]
        for each in planned("redis://r:6379").resources
    }


def test_a_resource_is_made_changed_and_deleted_on_the_server(server: RedisServer) -> None:
    provider, key = STREAMS.functions(), "polybus:{shop-dev}:billing"
    for resource in planned(server.url).resources:
        # Numbers come from the engine as floats.
        given = {k: float(v) if isinstance(v, int) else v for k, v in resource.properties.items()}
        made = provider.create({**given, "__provider": "..."})
        assert made.id == resource.properties["name"]
    billing = {str(k): v for k, v in resource_of(server, "billing").items()}
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert client.hget(f"{key}:conf", "net") == "25"
        client.xadd(key, {":body": "x"})
        changed = {**billing, "net": 40}
        assert provider.diff(key, billing, {**billing, "net": 25.0, "__provider": "new"}).changes is False
        assert provider.diff(key, billing, changed).changes is True
        provider.update(key, billing, changed)
        assert client.hget(f"{key}:conf", "net") == "40"
        assert client.xlen(key) == 1
        assert provider.diff(key, billing, {**billing, "url": "redis://other:6379"}).replaces == ["url"]
        assert client.hkeys("polybus:{shop-dev}:orders:cursors") == [key]
        provider.delete(key, changed)
        assert list(client.scan_iter(f"{key}:*")) == [f"{key}:dead:conf"]
        assert client.exists(key, "polybus:{shop-dev}:orders:cursors") == 0


def resource_of(server: RedisServer, name: str) -> dict[str, object]:
    return next(dict(each.properties) for each in planned(server.url).resources if each.name == name)


def test_a_stack_says_where_redis_is() -> None:
    def config(**values: str) -> StackConfig:
        return StackConfig("dev", values, lambda namespace, key: None, "polybus:")

    assert PROVIDER.settings(config(url="redis://r:6379")) == RedisSettings("dev", "redis://r:6379")
    with pytest.raises(ConfigError, match=r"polybus:url is not set: such as redis://"):
        PROVIDER.settings(config())
    with pytest.raises(ConfigError, match="durability"):
        PROVIDER.settings(config(url="redis://r:6379", durability="some"))
