"""The provider of a system that is planned by `polybus.plan.simple.Simple`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from polybus.plan.simple import Simple
from polybus.provision.cloud import Provider
from polybus.provision.config import StackConfig
from polybus.provision.sdk import Sdk

__all__ = ["provider_of"]


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
