"""Which stack `polybus export` is about: a Pulumi stack's file, a file of one's own, or a cloud by its defaults."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options, stack
from polybus.errors import ConfigError, PolybusError

if TYPE_CHECKING:
    from polybus.provision.configured import Configured
    from polybus.topology.model import Topology

__all__ = ["Choice", "Config", "Found", "Name", "StackName", "TopologyOf", "read", "readable"]

Name = Annotated[
    str | None,
    typer.Argument(metavar="[STACK]", help="A Pulumi stack, whose file says all the rest.", show_default=False),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="The same keys in TOML or JSON, without Pulumi."),
]
StackName = Annotated[str, typer.Option("--stack", help="With --cloud or --config: what is part of physical names.")]
TopologyOf = Annotated[
    Path | None,
    typer.Option("--topology", metavar="FILE", help="By default what the stack says, or polybus.toml."),
]


@dataclass(frozen=True, slots=True)
class Choice:
    """What was given on the command line; `what` is written of a stack, in words for errors."""

    name: str | None
    folder: Path | None
    cloud: str | None
    config: Path | None
    stack: str
    topology: Path | None
    what: str

    def hold(self) -> None:
        """Raise a usage error where a stack is named in no way, or in two."""
        if self.name is not None and (self.cloud or self.config):
            raise options.refuse("the stack's file says it already", "--cloud" if self.cloud else "--config")
        if self.cloud is not None and self.config is not None:
            raise options.refuse("the file says it already", "--cloud")
        if self.cloud == options.ALL:
            raise options.refuse(f"{self.what} is about one cloud; name it", "--cloud")
        if self.name is None and self.cloud is None and self.config is None:
            raise options.refuse("name one, or a file with --config, or a cloud with --cloud", "STACK")


@dataclass(frozen=True, slots=True)
class Found:
    """A stack's topology, cloud and settings; `configured` is its file, None by a cloud's defaults."""

    declared: Topology
    cloud: str
    settings: Any
    configured: Configured | None


def read(choice: Choice, stand: Callable[[str, bool], str]) -> Found:
    """Read the stack; `stand` gives what is planned with in place of what its file leaves open.

    Raises ConfigError for what is wrong in it.
    """
    from polybus.plan.planning import planning_of
    from polybus.provision.configured import of_file, of_stack
    from polybus.topology.file import load

    choice.hold()
    if choice.cloud is not None:
        declared = load(options.find_topology(choice.topology))
        return Found(declared, choice.cloud, planning_of(choice.cloud).settings(stack=choice.stack), None)
    home = None
    if choice.config is not None:
        found = of_file(choice.config, choice.stack, stand)
    else:
        home = stack.project_folder(choice.folder)
        found = of_stack(home, choice.name or "", stand)
    try:
        cloud = found.cloud()
        declared = load(_topology_of(found, home, choice.topology))
        return Found(declared, cloud.name, found.settings(cloud, declared), found)
    except PolybusError as error:
        raise readable(error) from None


def readable(error: PolybusError) -> PolybusError:
    """Name a variable by its name where an error names the text that stood for it."""
    mark = re.compile(r"(?:\\x00|\0)[=$](?:\\x00|\0)(?:var\.)?([\w-]+)(?:\\x00|\0)", re.ASCII)
    if not mark.search(str(error)):
        return error
    said = mark.sub(r"the variable \1", str(error))
    return ConfigError(f"{said}; a plan has to know it, so it can be neither a variable nor a secret")


def _topology_of(found: Configured, home: Path | None, given: Path | None) -> Path:
    """Find the topology: the one that is named here, or by the configuration, or the usual one."""
    if given is not None:
        return given
    named = found.text("topology")
    if home is None:
        return options.find_topology(None if named is None else Path(named))
    return home / (named or "polybus.toml")
