"""The component for programs in other languages: what `component_provider_host` serves.

Pulumi reads the annotations of this module as they are, so they are not postponed here (`from __future__ import
annotations` would break it), and it knows no unions.
"""

import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from polybus.errors import ConfigError, PolybusError
from polybus.provision import bus
from polybus.provision.cloud import Provider, cloud_named, elsewhere
from polybus.provision.config import StackConfig
from polybus.provision.filled import Hidden
from polybus.provision.values import whole
from polybus.topology.file import loads

__all__ = ["MessageBus", "MessageBusArgs"]

_PROVIDERS = ("region", "location", "subscriptionId", "environment", "project", "universeDomain")


class MessageBusArgs(TypedDict):
    """What a program in any language gives."""

    cloud: str
    """aws, azure or gcp."""
    topology: str
    """The text of polybus.toml."""
    settings: NotRequired[dict[str, Any]]
    """The keys of a stack's configuration, with the provider's own: region, location, subscriptionId, environment,
    project, universeDomain."""
    protect: NotRequired[bool]
    """Keep all of it from being deleted or replaced."""


class MessageBus(bus.MessageBus):
    """Everything that one topology needs on one cloud."""

    binding_json: pulumi.Output[str]
    """What services read: the JSON that POLYBUS_BINDING takes."""
    service_bindings: pulumi.Output[dict[str, str]]
    """What each service reads of it, and no more: the same for one service."""
    resources: dict[str, Any]
    """ARNs, URLs, resource ids and IAM policies, for other infrastructure."""

    def __init__(self, name: str, args: MessageBusArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        try:
            cloud = cloud_named(args["cloud"])
            topology = loads(args["topology"], source=f"{name}: topology")
            given = dict(args.get("settings", {}))
            values = {**_table(name, given, "values"), **_secrets(_table(name, given, "secrets"))}
            config = _config(name, cloud, given)
            config.hold_services(cloud.name, cloud.who, topology)
            settings = cloud.settings(config)
            config.hold(cloud.planning.mistakes(settings))
            protect = args.get("protect", False)
            existing = config.texts_by_name("existing")
            super().__init__(
                name,
                topology=topology,
                cloud=cloud.name,
                settings=settings,
                existing=existing,
                values=values,
                protect=protect,
                opts=opts,
            )
        except PolybusError as error:
            raise pulumi.RunError(str(error)) from error
        self.binding_json = pulumi.Output.json_dumps(self.binding)
        self.service_bindings = pulumi.Output.all(**self.bindings)
        self.resources = dict(self.exports)


def _table(name: str, settings: dict[str, Any], key: str) -> dict[str, Any]:
    """Take a table out of the settings whose values may be outputs."""
    found = settings.pop(key, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"{name}: settings.{key}: found {type(found).__name__}; allowed: a table of texts")
    return dict(found)


def _secrets(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: Hidden(value) if isinstance(value, str) else value for key, value in given.items()}


def _config(name: str, cloud: Provider, settings: Mapping[str, Any]) -> StackConfig:
    place = f"{name}: settings."
    values = {key: _text(f"{place}{key}", value) for key, value in settings.items()}
    config = StackConfig(pulumi.get_stack(), values, lambda namespace, key: values.get(key), place)
    config.hold_keys(("tags", "existing", *_PROVIDERS, *cloud.keys), elsewhere(cloud))
    return config


def _text(place: str, value: Any) -> str:
    """Write a value as a stack's configuration has it; what isn't known while the plan is made is refused."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(whole(value))
    except TypeError:
        allowed = "values that are known beforehand; attach what `resources.policies` has to a role that you make"
        raise ConfigError(f"{place}: found an output of another resource; allowed: {allowed}") from None
