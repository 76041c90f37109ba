"""A whole stack from its configuration: what the program in `stacks/` calls."""

from __future__ import annotations

from pathlib import Path

import pulumi

from polybus.errors import PolybusError
from polybus.provision.bus import MessageBus
from polybus.provision.cloud import Provider, cloud_named, elsewhere
from polybus.provision.config import StackConfig
from polybus.provision.configured import EVERYWHERE
from polybus.registry import offering
from polybus.topology.file import load
from polybus.topology.model import Topology

__all__ = ["chosen_cloud", "from_config"]

_TOPOLOGY = "polybus.toml"


def from_config(*, opts: pulumi.ResourceOptions | None = None) -> MessageBus:
    """Create the bus that the stack's configuration describes: `polybus:cloud`, `polybus:topology` and the rest.

    The topology's path is relative to the folder of Pulumi.yaml, and in an inline program of the Automation API, which
    has none, to the working directory. Raises RunError, which Pulumi shows without a
    traceback, for anything that is wrong, before the first resource.
    """
    try:
        return _from_config(StackConfig.current(), opts)
    except PolybusError as error:
        raise pulumi.RunError(str(error)) from error


def _from_config(config: StackConfig, opts: pulumi.ResourceOptions | None) -> MessageBus:
    cloud = chosen_cloud(config)
    topology = _topology(config)
    config.hold_services(cloud.name, cloud.who, topology)
    settings = cloud.settings(config)
    config.hold(cloud.planning.mistakes(settings))
    return MessageBus(
        topology.name,
        topology=topology,
        cloud=cloud.name,
        settings=settings,
        existing=config.texts_by_name("existing"),
        values=config.values(),
        protect=config.boolean("protect") or False,
        opts=opts,
    )


def _topology(config: StackConfig) -> Topology:
    name = config.text("topology") or _TOPOLOGY
    # An inline program of the Automation API has no Pulumi.yaml, whatever the SDK's annotation says.
    root: str | None = pulumi.get_root_directory()
    folder, whose = (Path.cwd(), "the working directory") if root is None else (Path(root), "Pulumi.yaml's folder")
    path = folder / name
    if not path.is_file():
        raise config.refused("topology", name, f"a file, relative to {whose}; there is no {path}")
    return load(path)


def chosen_cloud(config: StackConfig) -> Provider:
    """Return the cloud that a configuration names; raises ConfigError for none, and for keys that it doesn't read."""
    known = offering("provider")
    if config.text("cloud") is None:
        raise config.missing("cloud", f"choose one with `pulumi config set polybus:cloud {'|'.join(known)}`")
    cloud = cloud_named(config.one_of("cloud", known) or "")
    config.hold_keys((*EVERYWHERE, *cloud.keys), elsewhere(cloud))
    return cloud
