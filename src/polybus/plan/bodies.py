"""Large bodies beside a bus: who puts and who gets them, how long they stay, and what a declaration of them means.

They are under one prefix of a bucket or container that is the bus's own in its stack. Nobody lists them and nobody
deletes them: their age does, once no message can refer to them any more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import msgspec

from polybus.binding import Binding, Bodies
from polybus.plan.findings import Report
from polybus.plan.rules import consumed, path_of, published
from polybus.topology.limits import DAY, DEAD_LETTER_RESERVE_BYTES
from polybus.topology.model import Queue, Service, Subscription, Topic, Topology
from polybus.topology.quantities import format_size

__all__ = ["ENTRY", "EXPIRY", "KIND", "days", "gets", "in_folder", "none_here", "of_binding", "prefix", "puts", "rule"]

ENTRY = "$.large_bodies"
"""Where in the topology all of it comes from."""

KIND = "bodies"
"""What a bucket or container of bodies is, in our words."""

EXPIRY = "expiry"
"""What deletes bodies by their age, which its setting has in days."""


def prefix(topology: Topology) -> str:
    """Give what the names of a bus's objects begin with: `polybus.blobs` believes no reference to any other."""
    return f"polybus/{topology.name}/"


def of_binding(topology: Topology, url: str = "", **options: str) -> Bodies | None:
    """Give what a binding says of large bodies; None where none are declared."""
    declared = topology.large_bodies
    return None if declared is None else Bodies(url, options, declared.over)


def puts(service: Service) -> bool:
    """Tell whether a service stores bodies: whatever publishes may publish a large one."""
    return bool(service.publishes)


def gets(topology: Topology, service: Service) -> bool:
    """Tell whether a service fetches bodies: it consumes, or has the name of a function that messages are pushed to.

    Who operates needs none: a dead letter that is put back refers to its body as it did.
    """
    pushes = (item.push for item in topology.subscriptions.values() if item.push is not None)
    return bool(service.consumes) or any(push.function == service.name for push in pushes)


def days(topology: Topology) -> int:
    """Give the age in days at which no message can refer to a body any more.

    A message may wait for its delay, then for its retention, then among dead letters, and the same again once it is put
    back; what is forwarded begins anew where it comes to. The day more is for what lies between the upload and the
    message, and for clocks.
    """
    longest = max((_seconds(topology, item, frozenset()) for item in consumed(topology)), default=0.0)
    return math.ceil(longest / DAY) + 1


def _seconds(topology: Topology, item: Subscription | Queue, passed: frozenset[str]) -> float:
    delay = topology.topics[item.topic].max_delay if isinstance(item, Subscription) else item.max_delay
    own = delay + 2 * (item.retention + item.dead_letter_retention)
    forward = item.push.forward if isinstance(item, Subscription) and item.push is not None else None
    if forward is None or forward in passed:
        return own
    beyond: tuple[Subscription | Queue, ...] = topology.subscriptions_of(forward)
    if forward in topology.queues:
        beyond = (topology.queues[forward],)
    return own + max((_seconds(topology, one, passed | {forward}) for one in beyond), default=0.0)


def in_folder(binding: Binding, folder: Path) -> Binding:
    """Lead a binding to a folder, where a stand-in of a cloud has no place for large bodies."""
    found = binding.bodies
    if found is None:
        return binding
    return msgspec.structs.replace(binding, bodies=Bodies(folder.absolute().as_uri(), over=found.over))


def rule(
    report: Report, topology: Topology, largest: Callable[[Topic | Queue], int], *, functions: bool = False
) -> None:
    """Refuse bodies that would stay in their message and be too large for it; tell who gets references.

    `largest` gives the bytes of the largest message of a topic or queue; `functions` says that what messages are pushed
    to has rights of its own there.
    """
    declared = topology.large_bodies
    if declared is None:
        return
    sizes = [(largest(entry), path_of(entry)) for entry in published(topology)]
    most, path = min(sizes, default=(None, ""))
    if most is not None and declared.over + DEAD_LETTER_RESERVE_BYTES > most:
        room, fits = format_size(DEAD_LETTER_RESERVE_BYTES), format_size(most - DEAD_LETTER_RESERVE_BYTES)
        limit = f"{path} has messages of up to {format_size(most)}, {room} of them for its dead letter"
        report.error(f"{ENTRY}.over", format_size(declared.over), limit, instead=f'at most "{fits}"')
    for item in consumed(topology):
        who = _reader(topology, item, functions)
        if who:
            limit = f"{who} a reference in place of a body of more than {format_size(declared.over)} (docs/wire.md)"
            report.note(path_of(item), item.name, limit, instead="a consumer of polybus's")


def _reader(topology: Topology, item: Subscription | Queue, functions: bool) -> str:
    """Say who gets messages as they are on the wire; "" where polybus fetches bodies."""
    if item.consumers == "foreign":
        return "what consumes it gets"
    push = item.push if isinstance(item, Subscription) else None
    if push is None or push.kind == "forward":
        return ""
    if push.kind != "function":
        return f"what it is pushed to by {push.kind} gets"
    if functions or push.function in topology.services:
        return ""
    return "no service has the function's name, so nothing gives it the right to bodies: it gets"


def none_here(report: Report) -> None:
    """Refuse large bodies on a cloud whose plans have no place for them."""
    report.error(
        ENTRY,
        "large_bodies",
        "its plan has no place for them",
        instead="polybus.blobs.Blobs(place) in code, with a bucket of your own (docs/large-bodies.md)",
    )
