"""`polybus export terraform`: a stack as Terraform JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options, stack
from polybus.cli.output import note, print_json
from polybus.errors import ConfigError, PolybusError

if TYPE_CHECKING:
    from polybus.plan.terraform.document import Exported, Variable
    from polybus.plan.terraform.model import Terraform
    from polybus.provision.configured import Configured
    from polybus.topology.model import Topology

__all__ = ["FILE", "command"]

FILE = "main.tf.json"

_OURS = "Written by `polybus export terraform`"
_LOCK = ".terraform.lock.hcl"


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[STACK]", help="A Pulumi stack, whose file says all the rest.", show_default=False),
    ] = None,
    *,
    folder: stack.Folder = None,
    cloud: Annotated[
        str | None,
        options.cloud_option("terraform", help="Without a stack: the cloud, by its defaults.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="The same keys in TOML or JSON, without Pulumi."),
    ] = None,
    stack_name: Annotated[
        str, typer.Option("--stack", help="With --cloud or --config: what is part of physical names.")
    ] = "",
    topology: Annotated[
        Path | None,
        typer.Option("--topology", metavar="FILE", help="By default what the stack says, or polybus.toml."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help=f"Write {FILE} there, and not to stdout.")
    ] = None,
    version: Annotated[
        str | None,
        typer.Option("--provider-version", help="By default the one of --out's lock file, or the newest known."),
    ] = None,
    alias: Annotated[
        str | None, typer.Option("--alias", help="The alias of the provider's configuration, where there are several.")
    ] = None,
) -> None:
    """Print a stack as Terraform JSON.

    It is what `polybus up` would make, references kept, with the binding as the output `polybus`. What the provider
    can't be told is said on stderr, and in a comment where it is.
    """
    _hold_choice(name, cloud, config)
    asked = _Asked(topology, out, version, alias)
    if cloud is not None and config is None:
        exported = _by_default(cloud, stack_name, asked)
    else:
        exported = _configured(name, folder, config, stack_name, asked)
    for line in _lines(exported.gaps):
        note(f"polybus: {line}")
    if out is None:
        print_json(exported.document)
    else:
        _write(out, exported.document)


@dataclass(slots=True)
class _Asked:
    """What is asked of the document, and the variables that turn up on the way."""

    topology: Path | None
    out: Path | None
    version: str | None
    alias: str | None
    variables: dict[str, Variable] = field(default_factory=dict)

    def stand(self, name: str, secret: bool) -> str:
        """Give the text that stands for a variable in a plan."""
        from polybus.plan.terraform.document import Variable, variable

        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name, re.ASCII):
            raise ConfigError(f"a variable: found {name!r}; allowed: letters, digits, - and _, beginning with a letter")
        words = "Encrypted in the stack's configuration." if secret else "Left open by the stack's configuration."
        self.variables[name] = Variable(name, words, secret)
        return variable(name)


def _hold_choice(name: str | None, cloud: str | None, config: Path | None) -> None:
    if name is not None and (cloud or config):
        raise options.refuse("the stack's file says it already", "--cloud" if cloud else "--config")
    if cloud is not None and config is not None:
        raise options.refuse("the file says it already", "--cloud")
    if cloud == options.ALL:
        raise options.refuse("a folder of Terraform's is about one cloud; name it", "--cloud")
    if name is None and cloud is None and config is None:
        raise options.refuse("name one, or a file with --config, or a cloud with --cloud", "STACK")


def _by_default(cloud: str, stack_name: str, asked: _Asked) -> Exported:
    from polybus.plan.planning import planning_of
    from polybus.topology.file import load

    declared = load(options.find_topology(asked.topology))
    return _exported(declared, cloud, planning_of(cloud).settings(stack=stack_name), asked)


def _configured(name: str | None, folder: Path | None, config: Path | None, stack_name: str, asked: _Asked) -> Exported:
    from polybus.provision.configured import of_file, of_stack
    from polybus.topology.file import load

    home = None
    if config is not None:
        found = of_file(config, stack_name, asked.stand)
    else:
        home = stack.project_folder(folder)
        found = of_stack(home, name or "", asked.stand)
    try:
        cloud = found.cloud()
        declared = load(_topology_of(found, home, asked.topology))
        exported = _exported(declared, cloud.name, found.settings(cloud, declared), asked, found)
    except PolybusError as error:
        raise _readable(error) from None
    for key in found.unread():
        note(f"polybus: {found.place}: {key} isn't exported: it is for Pulumi's provider; set it for Terraform's")
    return exported


def _topology_of(found: Configured, home: Path | None, given: Path | None) -> Path:
    """Find the topology: the one that is named here, or by the configuration, or the usual one."""
    if given is not None:
        return given
    named = found.text("topology")
    if home is None:
        return options.find_topology(None if named is None else Path(named))
    return home / (named or "polybus.toml")


def _exported(
    declared: Topology, cloud: str, settings: Any, asked: _Asked, found: Configured | None = None
) -> Exported:
    from polybus.plan.planning import planning_of
    from polybus.plan.terraform.document import document, outputs_of
    from polybus.provision.given import given
    from polybus.registry import find

    terraform: Terraform = find(cloud).load("terraform")
    planning = planning_of(cloud)
    others = given(declared, {} if found is None else found.existing, planning, settings)
    of = f" for the stack {settings.stack}" if settings.stack else ""
    plan = planning.plan(others.topology, settings)
    return document(
        plan,
        terraform,
        outputs=outputs_of(plan, planning, others.text),
        settings=settings,
        title=f"{_OURS} from {Path(declared.source).name}{of}: change it there, and write this anew.",
        version=asked.version or _locked(asked.out, terraform.source),
        protect=found is not None and found.protect,
        alias=asked.alias,
        variables=list(asked.variables.values()),
    )


def _locked(out: Path | None, source: str) -> str | None:
    """Return the provider's version that Terraform has chosen in a folder, None where it hasn't yet."""
    lock = None if out is None else out / _LOCK
    if lock is None or not lock.is_file():
        return None
    found = re.search(rf'provider "[^"]*/{re.escape(source)}" \{{\s*version\s*=\s*"([0-9.]+)"', lock.read_text(), re.I)
    return found[1] if found else None


def _lines(gaps: Mapping[str, Sequence[Any]]) -> list[str]:
    """Say each gap once, with all that have it."""
    where: dict[str, list[str]] = {}
    for place, found in gaps.items():
        for gap in found:
            where.setdefault(gap.words, []).append(place)
    return [f"{words} ({len(places)}: {', '.join(places)})" for words, places in where.items()]


def _readable(error: PolybusError) -> PolybusError:
    """Name a variable by its name where an error names the text that stood for it."""
    mark = re.compile(r"(?:\\x00|\0)=(?:\\x00|\0)var\.([\w-]+)(?:\\x00|\0)", re.ASCII)
    if not mark.search(str(error)):
        return error
    said = mark.sub(r"the variable \1", str(error))
    return ConfigError(f"{said}; a plan has to know it, so it can be neither a variable nor a secret")


def _write(out: Path, document: Mapping[str, Any]) -> None:
    """Write the file, over no other than one of ours; raises ConfigError for that."""
    import msgspec

    path = out / FILE
    if path.exists() and f'"//": "{_OURS}' not in path.read_text(encoding="utf-8")[:200]:
        raise ConfigError(f"{path} is there, and not of `polybus export terraform`: name another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    note(f"wrote {path}; services read its output: terraform output -json polybus > polybus.binding.json")
