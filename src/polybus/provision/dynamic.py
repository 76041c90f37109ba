"""A resource of a system that has no Pulumi provider: its package's own functions, run by Pulumi's own Python."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from pulumi import ResourceOptions
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

__all__ = ["Functions", "resource_of"]


class Functions(ResourceProvider):
    """Makes, changes and deletes a resource by two functions of its properties, each named by its `module:function`.

    Both block. `make` makes it, or brings what is there to its properties; `delete` deletes it. A change of one of
    `fixed` replaces it. Pulumi keeps this in its state, so there is no secret in it: functions find credentials by
    themselves.
    """

    def __init__(self, make: str, delete: str, fixed: Iterable[str]) -> None:
        self._make = make
        self._delete = delete
        self._fixed = sorted({"name", *fixed})

    def create(self, props: dict[str, Any]) -> CreateResult:
        _function(self._make)(_plain(props))
        return CreateResult(props["name"], dict(props))

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        old, new = _plain(_olds), _plain(_news)
        replaces = [key for key in self._fixed if old.get(key) != new.get(key)]
        # The new one may bear the name of the old one, and would be what is deleted after it.
        return DiffResult(changes=old != new, replaces=replaces, delete_before_replace=True)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        _function(self._make)(_plain(_news))
        return UpdateResult(dict(_news))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        _function(self._delete)(_plain(_props))


def resource_of(type_: str, functions: Functions) -> Callable[..., Resource]:
    """Return what makes a resource of a type: `acme:index/stream:Stream` is `dynamic/acme:Stream` for Pulumi."""

    class Made(Resource, module=type_.partition(":")[0], name=type_.rpartition(":")[2]):
        def __init__(self, resource_name: str, opts: ResourceOptions | None = None, **properties: Any) -> None:
            given = {name: value for name, value in properties.items() if value is not None}
            super().__init__(functions, resource_name, given, opts)

    return Made


def _function(place: str) -> Callable[[Mapping[str, Any]], object]:
    module, _, name = place.partition(":")
    found: Callable[[Mapping[str, Any]], object] = getattr(import_module(module), name)
    return found


def _plain(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Give the properties without Pulumi's own, whole numbers as such: they come as floats."""
    own = {key: value for key, value in properties.items() if not key.startswith("__")}
    return {key: int(value) if isinstance(value, float) and value.is_integer() else value for key, value in own.items()}
