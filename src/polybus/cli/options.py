"""The options that several commands share."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.errors import ConfigError
from polybus.registry import built_in, find, offering
from polybus.topology.quantities import parse_duration
from polybus.topology.table import nearest

if TYPE_CHECKING:
    from polybus.bus.bus import Bus

__all__ = [
    "ALL",
    "Binding",
    "Cloud",
    "Json",
    "Stack",
    "TopologyFile",
    "attributes",
    "cloud_option",
    "clouds_of",
    "connect",
    "duration",
    "find_topology",
    "moment",
    "number",
    "refuse",
]


ALL = "all"


def cloud_option(part: str, *more: str, help: str, option: str = "--cloud", every: bool = True, **given: Any) -> Any:
    """Return --cloud, or another `option`: a cloud that has a part, by the name of its field in `Cloud`; or `more`; or,
    where `every` may be meant, all.

    Other packages' clouds can be chosen too; who only asks for help doesn't wait for them to be found.
    """

    whole = (ALL,) if every else ()

    def choices() -> tuple[str, ...]:
        return (*more, *offering(part), *whole)

    def parse(value: str) -> str:
        known = choices()
        if value not in known:
            near = nearest(value, known)
            hint = f". Did you mean {near!r}?" if near else ""
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(map(repr, known))}{hint}")
        return value

    shown = "|".join((*more, *(cloud.name for cloud in built_in(part)), *whole))
    return typer.Option(
        option, parser=parse, metavar=f"[{shown}]", autocompletion=lambda: list(choices()), help=help, **given
    )


def clouds_of(chosen: str, part: str) -> tuple[str, ...]:
    """Return the clouds that a choice stands for."""
    return offering(part) if chosen == ALL else (chosen,)


def number(name: str, *, least: int = 1, most: int | None = None, help: str, **given: Any) -> Any:
    """Return an option that takes a whole number; what it isn't is said in our words."""
    allowed = f"a whole number from {least}" + ("" if most is None else f" to {most}")

    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", value) or not least <= int(value) <= (int(value) if most is None else most):
            raise typer.BadParameter(f"{value!r} is not {allowed}")
        return int(value)

    # A default comes as it is declared, which is no text.
    return typer.Option(name, parser=lambda value: parse(str(value)), metavar="INTEGER", help=help, **given)


Binding = Annotated[
    str | None,
    typer.Option(
        "--binding",
        help="A binding's or topology's file, or `embedded`; by default what POLYBUS_BINDING and the folder say.",
        show_default=False,
    ),
]
Cloud = Annotated[str, cloud_option("planning", help="One cloud, or all.")]
Stack = Annotated[str, typer.Option("--stack", help="The Pulumi stack's name, which is part of physical names.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to stdout, and nothing else there.")]
TopologyFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="TOPOLOGY", help="A topology file; by default polybus.toml, here or above.", show_default=False
    ),
]


def refuse(message: str, option: str) -> typer.BadParameter:
    """Return the error for a value that an option can't have; the process ends with 2."""
    return typer.BadParameter(message, param_hint=option)


def connect(binding: str | None) -> Bus:
    """Return the bus of --binding, or what connect finds by itself; raises ConfigError that names the option.

    Warnings of polybus become lines of the command's own; the libraries' are left out, since what fails is told.
    """
    import polybus
    from polybus.bus.resolve import resolve

    alone = not logging.getLogger().handlers  # --debug shows all
    if alone:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("polybus: %(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core writes to stderr by itself
    bus = polybus.connect() if binding is None else polybus.connect(resolve(binding, origin="--binding")[0])
    if alone:
        for name in find(bus.backend).loggers:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return bus


def duration(text: str, option: str) -> float:
    """Return the seconds of "30s" or "1h30m"; a bare number counts seconds."""
    seconds = parse_duration(text)
    if seconds is None:
        try:
            seconds = float(text)
        except ValueError:
            raise refuse(f"{text!r} is no duration; write 500ms, 30s, 15m or 1h30m", option) from None
    if not 0 <= seconds < float("inf"):
        raise refuse(f"{text!r} is no duration; it can't be negative or endless", option)
    return seconds


def attributes(pairs: list[str] | None, option: str = "--attribute") -> dict[str, str]:
    """Return the attributes of `name=value` pairs."""
    found: dict[str, str] = {}
    for pair in pairs or ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise refuse(f"{pair!r} is no attribute; write name=value", option)
        if name in found:
            raise refuse(f"{name!r} is given twice", option)
        found[name] = value
    return found


def find_topology(given: Path | None) -> Path:
    """Return the topology file that was named, or the nearest polybus.toml from the working directory upward."""
    if given is not None:
        return given
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "polybus.toml").is_file():
            return folder / "polybus.toml"
    raise ConfigError(f"there is no polybus.toml in {here} or above; name one, or write one with `polybus init`")


def moment(seconds: float | None) -> str:
    """Return a time, in seconds since the epoch, as people of any time zone read it; nothing for None."""
    if seconds is None:
        return ""
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
