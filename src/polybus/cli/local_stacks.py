"""What `polybus local env` says of the stacks on local clouds: their bindings, and how Pulumi's CLI is used by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polybus.bus.resolve import VARIABLE
from polybus.cli.laptop import binding_file, configuration, place_of
from polybus.cli.local_serve import environment_of
from polybus.cli.local_slot import Running, Slot
from polybus.cli.output import note
from polybus.errors import ConfigError
from polybus.registry import find

__all__ = ["environment"]


def environment(folder: Path, states: Sequence[Running], stack: str | None, *, pulumi: bool) -> dict[str, str]:
    """Return the variables of local clouds with the binding of a stack on one of them, and with those of the CLI.

    Without a name it is the one stack that there is. Raises ConfigError for a stack that isn't there, and for several
    where one has to be chosen.
    """
    there = [(Slot(folder, state.cloud), state, name) for state in states for name in _stacks(folder, state, pulumi)]
    found = [one for one in there if stack in (None, one[2])]
    names = ", ".join(dict.fromkeys(name for _, _, name in there)) or "none"
    if stack is not None and not found:
        raise ConfigError(
            f"{folder}: there is no stack {stack!r} on a local cloud that runs; there are: {names}. "
            f"`polybus up {stack} --local` makes it"
        )
    if pulumi and len(found) != 1:
        raise ConfigError(
            f"{folder}: Pulumi's CLI by hand takes one stack, and {names if found else 'none'} is on the local clouds "
            "that run: choose with --stack and --cloud, or make one with `polybus up STACK --local`"
        )
    if len(found) != 1:
        _tell_of_several(names, bool(found), states)
        return environment_of(states)
    slot, state, name = found[0]
    together = environment_of(states)
    together.pop(VARIABLE, None)
    together.update(find(state.cloud).load("laptop").variables(configuration(place_of(slot, state).folder(name), name)))
    path = binding_file(slot, name)
    if path.is_file():
        together[VARIABLE] = str(path)
    if not pulumi:
        return together
    place = place_of(slot, state)
    note(f"polybus: the stack's project for the CLI: pulumi -C {place.folder(name)} preview")
    return place.environment({**together, "PULUMI_STACK": name})


def _stacks(folder: Path, state: Running, pulumi: bool) -> tuple[str, ...]:
    """Return the stacks on a local cloud: for the CLI all that have a project, for services those with a binding."""
    slot = Slot(folder, state.cloud)
    names = place_of(slot, state).stacks
    return names if pulumi else tuple(name for name in names if binding_file(slot, name).is_file())


def _tell_of_several(names: str, some: bool, states: Sequence[Running]) -> None:
    """Say why there is no binding; that several clouds run is told by who asked."""
    if len(states) > 1 or not states[0].bare:
        return
    if some:
        note(f"polybus: {VARIABLE} is not set: there are several stacks ({names}); choose with --stack")
    else:
        note(f"polybus: {VARIABLE} is not set: no stack is on it; `polybus up STACK --local` makes one")
