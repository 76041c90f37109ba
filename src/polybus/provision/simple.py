"""The provider of a system that is planned by `polybus.plan.simple.Simple`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from polybus.plan.simple import Simple
from polybus.plan.values import Resource
from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk

if TYPE_CHECKING:
    from polybus.provision.dynamic import Functions

__all__ = ["MadeBy", "made_by", "provider_of"]


@dataclass(frozen=True, slots=True)
class MadeBy(Sdk):
    """In place of a provider's package: two functions of the system's own, see `made_by`."""

    make: str = ""
    delete: str = ""
    fixed: frozenset[str] = frozenset()

    def functions(self) -> Functions:
        """Return what Pulumi calls to make, change and delete a resource."""
        from polybus.provision.dynamic import Functions

        return Functions(self.make, self.delete, self.fixed)

    def resource(self, type_: str) -> Callable[..., Any]:
        """Return what makes a resource of a type."""
        from polybus.provision.dynamic import resource_of

        return resource_of(type_, self.functions())

    def check(self, resources: Iterable[Resource], source: str, cloud: str, **known: Any) -> None:
        """Check nothing: what the functions take is the plan's own."""


def made_by(simple: Simple, *, make: str, delete: str) -> MadeBy:
    """Return what `provider_of` takes for a system that has no Pulumi provider.

    `make` and `delete` are places of functions, such as `acme.boxes:make`, that get a resource's properties and block:
    `make` makes it, or brings what is there to what they say. They find credentials by themselves.
    """
    return MadeBy(simple.backend, "", make=make, delete=delete, fixed=simple.immutable)


def provider_of(simple: Simple, sdk: Sdk, keys: Mapping[str, str], *, required: Collection[str] = ()) -> Provider:
    """Return what a `polybus.cloud.Cloud` registers as its `provider`.

    `keys` are those of a stack's configuration, with words for people; each is a field of the settings. A field is a
    text, a boolean, a whole number, or one of the texts of a `Literal`; what isn't set has the field's default, but
    those in `required` have to be.
    """
    types = get_type_hints(simple.settings)

    def settings(config: StackConfig) -> Any:
        found = {key: _value(config, key, types[key]) for key in keys}
        for key in required:
            if found[key] is None:
                raise config.missing(key, keys[key])
        return simple.settings(stack=config.stack, **{key: value for key, value in found.items() if value is not None})

    return Provider(simple.backend, simple.planning(), sdk, settings, keys)


def _value(config: StackConfig, key: str, type_: Any) -> Any:
    if get_origin(type_) is Literal:
        return config.one_of(key, [text for text in get_args(type_) if text])
    if type_ is bool:
        return config.boolean(key)
    return config.integer(key) if type_ is int else config.text(key)
