"""`polybus export terraform`: a stack as Terraform JSON."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.cli import options, stack, stack_choice
from polybus.cli.output import note, print_json
from polybus.cli.stack_choice import Choice, Found
from polybus.errors import ConfigError, PolybusError

if TYPE_CHECKING:
    from polybus.plan.planning import Planning
    from polybus.plan.terraform.document import Exported, Variable
    from polybus.plan.terraform.model import Terraform

__all__ = ["FILE", "command"]

FILE = "main.tf.json"

_OURS = "Written by `polybus export terraform`"
_LOCK = ".terraform.lock.hcl"


def command(
    name: stack_choice.Name = None,
    *,
    folder: stack.Folder = None,
    cloud: Annotated[
        str | None,
        options.cloud_option("terraform", help="Without a stack: the cloud, by its defaults.", show_default=False),
    ] = None,
    config: stack_choice.Config = None,
    stack_name: stack_choice.StackName = "",
    topology: stack_choice.TopologyOf = None,
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
    asked = _Asked(out, version, alias)
    choice = Choice(name, folder, cloud, config, stack_name, topology, "a folder of Terraform's")
    exported = _exported(stack_choice.read(choice, asked.stand), asked)
    for line in _lines(exported.gaps):
        note(f"polybus: {line}")
    if out is None:
        print_json(exported.document)
    else:
        _write(out, exported.document)


@dataclass(slots=True)
class _Asked:
    """What is asked of the document, and the variables that turn up on the way."""

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


def _exported(found: Found, asked: _Asked) -> Exported:
    from polybus.plan.planning import planning_of

    try:
        exported = _document(found, planning_of(found.cloud), asked)
    except PolybusError as error:
        raise stack_choice.readable(error) from None
    if found.configured is not None:
        for key in found.configured.unread():
            place = found.configured.place
            note(f"polybus: {place}: {key} isn't exported: it is for Pulumi's provider; set it for Terraform's")
    return exported


def _document(found: Found, planning: Planning, asked: _Asked) -> Exported:
    from polybus.plan.terraform.document import document, outputs_of
    from polybus.provision.given import given
    from polybus.registry import find

    terraform: Terraform = find(found.cloud).load("terraform")
    configured, settings = found.configured, found.settings
    existing, values = ({}, {}) if configured is None else (configured.existing, configured.values)
    others = given(found.declared, existing, planning, settings, cloud=found.cloud, values=values)
    of = f" for the stack {settings.stack}" if settings.stack else ""
    plan = planning.plan(others.topology, others.settings)
    return document(
        plan,
        terraform,
        outputs=outputs_of(plan, planning, others.text),
        settings=settings,
        title=f"{_OURS} from {Path(found.declared.source).name}{of}: change it there, and write this anew.",
        version=asked.version or _locked(asked.out, terraform.source),
        protect=configured is not None and configured.protect,
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


def _write(out: Path, document: Mapping[str, Any]) -> None:
    """Write the file, over no other than one of ours; raises ConfigError for that."""
    import msgspec

    path = out / FILE
    if path.exists() and f'"//": "{_OURS}' not in path.read_text(encoding="utf-8")[:200]:
        raise ConfigError(f"{path} is there, and not of `polybus export terraform`: name another folder, or remove it")
    out.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
    note(f"wrote {path}; services read its output: terraform output -json polybus > polybus.binding.json")
