"""`polybus local`: a stand-in for a cloud on this machine, with all that a topology declares."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from polybus.bus.resolve import VARIABLE
from polybus.cli import options
from polybus.cli.background import started
from polybus.cli.local_serve import Request, environment_of, for_language, serve, where_bodies_are
from polybus.cli.local_slot import Running, Slot, find_folder, running
from polybus.cli.output import note, print_json
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.binding import Binding

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True)

_PATIENCE = 60.0
"""Seconds for a background process to come up or to end; both take about one, and a busy machine is no failure."""


class Language(StrEnum):
    """Whose SDKs `env` is asked about; `cli` is the cloud's own command line."""

    PYTHON = "python"
    GO = "go"
    NODE = "node"
    JAVA = "java"
    DOTNET = "dotnet"
    CLI = "cli"


class Ports(StrEnum):
    """Where servers listen: on any free port, or where clients look that are told none."""

    FREE = "free"
    STANDARD = "standard"


Topology = Annotated[
    Path | None,
    typer.Option("--topology", help="A topology file; by default polybus.toml, here or above.", show_default=False),
]
Chosen = Annotated[str, options.cloud_option("local", help="One cloud, or all.")]


@app.command()
def up(
    cloud: Annotated[str, options.cloud_option("local", help="One cloud, or all.", show_default=False)],
    *,
    topology: Topology = None,
    binding: Annotated[
        Path | None, typer.Option("--binding", help="Where to write the binding.", show_default=False)
    ] = None,
    env_file: Annotated[
        Path | None, typer.Option("--env-file", help="Where to write NAME=value lines.", show_default=False)
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A folder that outlives this; by default memory only.", show_default=False),
    ] = None,
    port: Annotated[int, options.number("--port", least=0, most=65_535, help="0 takes any free one.")] = 0,
    ports: Annotated[
        Ports, typer.Option("--ports", help="`standard`: where clients look that can't be told a port.")
    ] = Ports.FREE,
    tls: Annotated[bool, typer.Option("--tls", help="Speak TLS, with a certificate of its own.")] = False,
    control: Annotated[
        int | None,
        options.number("--control", least=0, most=65_535, help="Also serve the control face there; 0 takes any port."),
    ] = None,
    ui: Annotated[bool, typer.Option("--ui", help="Also show what there is on a page in the browser.")] = False,
    background: Annotated[bool, typer.Option("--background", help="Return once it is ready.")] = False,
    env: Annotated[bool, typer.Option("--env", help="Print export lines, and nothing else, to stdout.")] = False,
) -> None:
    """Start a cloud on a loopback port, with all that a topology declares.

    Runs until Ctrl-C, SIGTERM or `polybus local down`, and leaves nothing behind but --data. The server speaks the
    cloud's own protocol, so its own SDKs and tools reach it too.
    """
    if cloud == options.ALL and (binding is not None or port):
        raise options.refuse("one file or port can't be several clouds'; name one cloud", "--binding / --port")
    if port and ports is Ports.STANDARD:
        raise options.refuse("a port is either the standard one or another", "--port / --ports")
    found = options.find_topology(topology).resolve()
    clouds = options.clouds_of(cloud, "local")
    chosen = None if ports is Ports.STANDARD else port
    if ui and control is None:
        control = 0
    request = Request(clouds, found, _resolved(binding), _resolved(env_file), _resolved(data), chosen, tls, control, ui)
    if background:
        _print(_start(request), exports=env, ends="", ui=ui)
        return
    asyncio.run(serve(request, lambda states: _print(states, exports=env, ui=ui)))


@app.command()
def down(cloud: Chosen = options.ALL, topology: Topology = None) -> None:
    """End what `polybus local up` started for a topology."""
    folder = find_folder(topology)
    # First: one process may serve several, and ends them all.
    found = running(folder, options.clouds_of(cloud, "local"))
    for state in found:
        Slot(folder, state.cloud).end(_PATIENCE)
        note(f"local {state.cloud} ended")
    if not found:
        note(f"nothing runs in {folder}")


@app.command()
def env(
    cloud: Chosen = options.ALL,
    *,
    topology: Topology = None,
    language: Annotated[
        Language | None,
        typer.Option("--for", help="Also what that language's SDK, or the cloud's own command line, needs."),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option("--stack", help="One that `polybus up STACK --local` made; its binding.", show_default=False),
    ] = None,
    pulumi: Annotated[bool, typer.Option("--pulumi", help="What Pulumi's CLI takes by hand, too.")] = False,
    json: options.Json = False,
) -> None:
    """Print what points polybus and other tools at it, as export lines for `eval`.

    With --pulumi also the CLI's home, backend, passphrase and plugins: it then uses the local cloud, and nothing of
    the user's own.
    """
    folder = find_folder(topology)
    found = [state for state in running(folder, options.clouds_of(cloud, "local")) if state.ready]
    if not found:
        wanted = "cloud" if cloud == options.ALL else cloud
        named = next(iter(options.clouds_of(cloud, "local")))
        raise ConfigError(f"no local {wanted} runs in {folder}: start one with `polybus local up --cloud {named}`")
    if stack is None and not pulumi and not any(state.bare for state in found):
        environment = dict(environment_of(found))
    else:
        from polybus.cli import local_stacks

        environment = dict(local_stacks.environment(folder, found, stack, pulumi=pulumi))
    if language is not None:
        environment.update(for_language(found, language.value))
    if json:
        print_json(environment)
    else:
        _print_exports(environment)
    if stack is None:
        _tell_of_no_binding(found)


def _tell_of_no_binding(states: list[Running]) -> None:
    """Say why the variables of several clouds have no binding: services would not run on any of them."""
    if len(states) > 1:
        names = ", ".join(state.cloud for state in states)
        note(
            f"polybus: {VARIABLE} is not set: {len(states)} local clouds run ({names}), and it can name one; choose "
            f"with `polybus local env --cloud {states[0].cloud}`"
        )


def _resolved(path: Path | None) -> Path | None:
    return None if path is None else path.resolve()


def _start(request: Request) -> list[Running]:
    """Start a process of its own and wait until it is ready; raise ConfigError with what it said where it isn't."""
    if taken := running(request.folder, request.clouds):
        raise ConfigError(f"a local {taken[0].cloud} runs for this topology already: `polybus local down` ends it")

    def ready() -> list[Running] | None:
        states = running(request.folder, request.clouds)
        return states if len(states) == len(request.clouds) and all(state.ready for state in states) else None

    return started(["polybus.cli.main", "local", "up", *request.arguments()], ready, _PATIENCE)


def _print(states: list[Running], *, exports: bool, ends: str = "Ctrl-C or ", ui: bool = False) -> None:
    if exports:
        _print_exports(environment_of(states))
        _tell_of_no_binding(states)
        return
    for state in states:
        print(f"local {state.cloud} is ready on {state.address}, with all of {state.topology}\n")
        _print_exports(state.environment, indent="  ")
        print(_example(state))
        if bodies := where_bodies_are(state.cloud, state.binding):
            print(f"  {bodies}\n")
    if ui:
        told = states[0].environment
        print(f"In the browser:  {told['POLYBUS_CONTROL_URL']}/#token={told['POLYBUS_CONTROL_TOKEN']}")
    one = f" --cloud {states[0].cloud}" if len(states) == 1 else " --cloud NAME"
    print(f'In another terminal:  eval "$(polybus local env{one})"')
    print(f"{ends}`polybus local down` ends it.", flush=True)


def _example(state: Running) -> str:
    """Return a command that works here, where there is something to publish to: by it a message comes to somebody."""
    from polybus.binding import Binding
    from polybus.cli.init import BODY

    binding = Binding.from_json(state.binding)
    for target in (*binding.queues.values(), *binding.topics.values()):
        attributes = None if target.schema else _attributes(state, binding, target.name)
        if attributes is not None:
            key = " --key first" if target.ordered else ""
            given = "".join(f" --attribute {shlex.quote(f'{name}={value}')}" for name, value in attributes.items())
            return f"  polybus publish {target.name} '{BODY}'{given}{key}\n"
    return ""


def _attributes(state: Running, binding: Binding, target: str) -> dict[str, str] | None:
    """Return what a message needs so that a subscription takes it; None where nothing was found that one does."""
    from polybus.topology.file import load
    from polybus.topology.filters import example

    try:
        declared = load(Path(state.topology)).subscriptions_of(target)
    except ConfigError:  # changed meanwhile
        return {}
    filters = [item.filter for item in declared if item.name in binding.subscriptions]  # the others: on other clouds
    if not filters or None in filters:
        return {}
    return next((found for one in filters if one is not None and (found := example(one)) is not None), None)


def _print_exports(environment: Mapping[str, str], indent: str = "") -> None:
    for name, value in environment.items():
        print(f"{indent}export {name}={shlex.quote(value)}")
    sys.stdout.flush()
