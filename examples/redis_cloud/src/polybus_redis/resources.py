"""A stream as Pulumi's resource: Redis has no provider, so this is one, run by Pulumi's own Python."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pulumi import ResourceOptions
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from polybus_redis import streams

__all__ = ["Stream", "Streams"]


class Streams(ResourceProvider):
    """Credentials are REDIS_USERNAME and REDIS_PASSWORD of the environment that Pulumi runs in, never in its state."""

    def create(self, props: dict[str, Any]) -> CreateResult:
        streams.make(_whole(props))
        return CreateResult(props["name"], dict(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        moved = [key for key in ("name", "url") if _olds.get(key) != _news.get(key)]
        return DiffResult(changes=_whole(_olds) != _whole(_news), replaces=moved)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        streams.make(_whole(_news))
        return UpdateResult(dict(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        streams.delete(_props)


class Stream(Resource, module="redis", name="Stream"):
    """The stream of a topic, subscription, queue or dead letters; what it takes is what redis.lua reads."""

    def __init__(
        self,
        resource_name: str,
        opts: ResourceOptions | None = None,
        *,
        url: str,
        name: str,
        topic: str | None = None,
        filter: str | None = None,
        retention: int | None = None,
        keep: int | None = None,
        net: int | None = None,
        ordered: int | None = None,
        dead: str | None = None,
        dead_retention: int | None = None,
    ) -> None:
        given = {"topic": topic, "filter": filter, "retention": retention, "keep": keep, "net": net, "ordered": ordered}
        given |= {"url": url, "name": name, "dead": dead, "dead_retention": dead_retention}
        super().__init__(
            Streams(), resource_name, {key: value for key, value in given.items() if value is not None}, opts
        )


def _whole(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Give the properties without Pulumi's own, whole numbers as such: they come as floats."""
    own = {key: value for key, value in properties.items() if not key.startswith("__")}
    return {key: int(value) if isinstance(value, float) else value for key, value in own.items()}
