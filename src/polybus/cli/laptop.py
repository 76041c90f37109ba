"""What `--local` of `polybus up`, `preview` and the like does: the stack on this machine's local cloud."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from polybus.bus.resolve import LOCAL, VARIABLE
from polybus.cli import options, stack
from polybus.cli.background import started
from polybus.cli.laptop_serve import kept
from polybus.cli.local_serve import environment_of, where_bodies_are
from polybus.cli.local_slot import Running, Slot, find_folder, write
from polybus.cli.output import console, note, print_json, table
from polybus.errors import ConfigError, PolybusError
from polybus.registry import find

if TYPE_CHECKING:
    from polybus.provision.laptop.cloud import Laptop
    from polybus.provision.laptop.place import Place
    from polybus.provision.laptop.stack import LocalStack, Recorded

__all__ = [
    "OUTPUT",
    "Local",
    "Opened",
    "State",
    "binding_file",
    "configuration",
    "hold",
    "opened",
    "place_of",
    "publish",
    "report",
]

OUTPUT = "polybus"
"""The output that a program exports the binding as."""

_PATIENCE = 60.0
"""Seconds for the local cloud to come up: it takes about one, and a busy machine is no failure."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Local = Annotated[
    bool,
    typer.Option("--local", help="On this machine's local cloud, by a state of its own: no account, no login."),
]
State = Annotated[
    str | None,
    typer.Option(
        "--state",
        help="With --local: keep the state, and what is on the local cloud, under this name.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Opened:
    """A stack and the local cloud that it is on, whose variables `environment` has."""

    stack: LocalStack
    slot: Slot
    running: Running
    laptop: Laptop
    environment: Mapping[str, str]


def hold(local: bool, state: str | None) -> None:
    """Refuse a --state that isn't one, or is of no use."""
    if state is None:
        return
    if not local:
        raise options.refuse("only a stack on this machine has one; give --local too", "--state")
    if not _NAME.fullmatch(state):
        raise options.refuse(f"{state!r} is no name: letters, digits, '.', '_' and '-', 64 at most", "--state")


@contextmanager
def opened(name: str, project: Path, state: str | None, *, begin: bool, lasting: bool = False) -> Iterator[Opened]:
    """Give a stack on the local cloud that runs for it, or on one that is started.

    One that is started ends with the block unless the block is left in peace and it is to be `lasting`. Without
    `begin` it is refused to start one with nothing on it. Raises ConfigError for what is wrong with the project or the
    state, and where Pulumi's CLI is missing.
    """
    stack.hold_sdk(project, name)
    from polybus.provision.laptop import engine
    from polybus.provision.laptop import project as projects
    from polybus.provision.laptop.stack import LocalStack

    cli, cloud = engine.find(project), projects.cloud_of(project, name)
    slot = Slot(_folder(projects.topology_of(project, name), project), cloud)
    found = _found(slot, state)
    if found is None and not begin and not state:
        raise ConfigError(f"no local {cloud} runs in {slot.folder}: `polybus up {name} --local` starts one")
    running = found or _start(slot, state or "")
    try:
        place = place_of(slot, running)
        place.prepare(cli)
        for key in projects.write(project, name, place.folder(name), place.programs):
            note(f"polybus: {key} is encrypted in Pulumi.{name}.yaml, for another backend: it is not set here")
        laptop: Laptop = find(cloud).load("laptop")
        environment = {**_server(running), **laptop.variables(configuration(place.folder(name), name))}
        yield Opened(LocalStack(name, place, laptop, environment), slot, running, laptop, environment)
    except BaseException:
        lasting = False
        raise
    finally:
        if found is None and not lasting:
            slot.end(_PATIENCE)


def place_of(slot: Slot, running: Running) -> Place:
    """Return where the stacks on a local cloud are kept: as long as it runs, or under the name of its state."""
    from polybus.provision.laptop.place import Place

    return Place(kept(slot.folder, slot.cloud, running.state) if running.state else slot.stacks)


def configuration(folder: Path, stack: str) -> Mapping[str, str]:
    """Read a stack's configuration, by its keys in full, from a project's folder."""
    from polybus.provision.configured import of_stack_file

    return of_stack_file(folder / f"Pulumi.{stack}.yaml", stack).given


def binding_file(slot: Slot, stack: str) -> Path:
    """Return where the binding of a stack is while its local cloud runs."""
    return slot.stacks / f"{slot.cloud}.{stack}.binding.json"


def publish(at: Opened, outputs: Mapping[str, Any]) -> Path | None:
    """Write a stack's binding, led to the local cloud, and return the file; None where the program exports none."""
    import msgspec

    from polybus.binding import Binding
    from polybus.plan.bodies import in_folder

    if OUTPUT not in outputs:
        return None
    text = msgspec.json.encode(outputs[OUTPUT])
    led = at.laptop.binding(Binding.from_json(text, source=f"stack {at.stack.name}"), at.environment)
    binding = in_folder(led, place_of(at.slot, at.running).root / "bodies" / at.stack.name)
    path = binding_file(at.slot, at.stack.name)
    write(path, binding.to_json().encode())
    return path


def report(at: Opened, changes: Mapping[str, int], *, json: bool) -> None:
    """Print what there is after an update: the outputs, what is recorded alone, and how services run on it."""
    outputs = at.stack.outputs()
    path = publish(at, outputs)
    made, recorded = at.stack.resources()
    environment = {**at.environment, **({VARIABLE: str(path)} if path else {})}
    if json:
        print_json(
            {
                "stack": at.stack.name,
                "cloud": at.slot.cloud,
                "address": at.running.address,
                "state": at.running.state or None,
                "changes": changes,
                "outputs": outputs,
                "made": made,
                "recorded": [{"type": one.type, "name": one.name} for one in recorded],
                "environment": environment,
            }
        )
        return
    _print_recorded(at.slot.cloud, recorded)
    state = f"its state is kept as {at.running.state!r}" if at.running.state else "its state ends with it"
    print(
        f"{at.stack.name} is up on the local {at.slot.cloud}, {at.running.address}: {made} resources made, "
        f"{len(recorded)} recorded; {state}"
    )
    _print_next(at, path)


def _print_recorded(cloud: str, recorded: Sequence[Recorded]) -> None:
    if not recorded:
        return
    shown = table("type", "names", title=f"recorded alone: the local {cloud} has nothing for them")
    for type_ in dict.fromkeys(one.type for one in recorded):
        shown.add_row(type_, ", ".join(one.name for one in recorded if one.type == type_))
    console().print(shown)


def _print_next(at: Opened, path: Path | None) -> None:
    cloud, here = at.slot.cloud, _where(at.slot)
    if path is None:
        print(f"Services find no binding: the program exports no {OUTPUT!r}")
    else:
        if told := where_bodies_are(cloud, path.read_text()):
            print(f"L{told[1:]}")
        print(f'Services run on it:    eval "$(polybus local env --cloud {cloud} --stack {at.stack.name}{here})"')
    print(f'Pulumi\'s CLI by hand:  eval "$(polybus local env --cloud {cloud} --stack {at.stack.name} --pulumi{here})"')
    print(f"`polybus local down --cloud {cloud}{here}` ends it.", flush=True)


def _where(slot: Slot) -> str:
    """Return the option by which `polybus local` finds a slot from the working directory, where it takes one."""
    if find_folder(None) == slot.folder:
        return ""
    return f" --topology {slot.folder.parent.parent / 'polybus.toml'}"


def _folder(topology: Path, project: Path) -> Path:
    """Return the folder of slots: beside the topology, as `polybus local up` has it."""
    return (topology.resolve().parent if topology.is_file() else project) / LOCAL


def _server(running: Running) -> dict[str, str]:
    """Return the variables of the local cloud, without the binding that may be another's."""
    environment = environment_of([running])
    environment.pop(VARIABLE, None)
    return environment


def _found(slot: Slot, state: str | None) -> Running | None:
    """Return the local cloud that runs, None for none; raises ConfigError where it is none of the state's."""
    running = slot.read()
    if running is None:
        return None
    if not running.ready:  # another command is starting it
        running = _until_ready(slot)
    if state and running.state != state:
        whose = f"of the state {running.state!r}" if running.state else "whose state ends with it"
        raise ConfigError(
            f"a local {slot.cloud} runs in {slot.folder} {whose}, and not of {state!r}: "
            f"`polybus local down --cloud {slot.cloud}{_where(slot)}` ends it"
        )
    return running


def _start(slot: Slot, state: str) -> Running:
    def ready() -> Running | None:
        running = slot.read()
        return running if running is not None and running.ready else None

    command = ["polybus.cli.laptop_serve", str(slot.folder), slot.cloud, *([state] if state else [])]
    try:
        return started(command, ready, _PATIENCE)
    except ConfigError:
        with suppress(PolybusError):
            if (running := _found(slot, state)) is not None:  # another command was quicker
                return running
        raise


def _until_ready(slot: Slot) -> Running:
    import time

    from polybus.cli.local_slot import LOOK

    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        running = slot.read()
        if running is not None and running.ready:
            return running
        time.sleep(LOOK)
    raise ConfigError(f"the local {slot.cloud} in {slot.folder} isn't ready after {_PATIENCE:.0f} s")
