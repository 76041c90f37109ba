"""The page of errors: what polybus raises, and what each cloud's own codes become."""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import polybus.errors
from polybus.cli import main
from polybus.errors import FaultKind
from polybus.registry import find
from tools.reference.markdown import code, literal_blocks, summary, table

__all__ = ["page"]

_HEAD = """\
# Errors

An error says what is wrong, where, what is allowed, and what to do next. It never holds a secret or a message's body.
The command line prints it as one line that begins with `polybus: `; `polybus --debug COMMAND` shows the traceback.

## What is raised

"""

_KINDS_HEAD = """\

## Kinds of faults

A `Fault` is why one operation failed: `unavailable (503): ...` is its kind, the cloud's own code, and what happened.
Where a kind is tried again, polybus does it by itself: until the deadline of a publish, and without end where it
consumes.

"""

# What each kind comes to for who reads it; a kind that isn't here is an error of the generator.
_TO_DO: Mapping[FaultKind, str] = {
    FaultKind.THROTTLED: "Nothing, if it passes; else ask the cloud for a larger quota, or publish more slowly.",
    FaultKind.UNAVAILABLE: "Look at the network, the endpoint and the cloud's status page.",
    FaultKind.TIMEOUT: "As for `unavailable`. A publish may have been accepted, and comes twice then.",
    FaultKind.INTERNAL: "Nothing, if it passes; else give the code to the cloud's support.",
    FaultKind.TOO_LARGE: "Keep the body elsewhere and send where it is; or declare `max_message_size`.",
    FaultKind.INVALID: "Mend what the text names: it is refused however often it is sent.",
    FaultKind.NOT_FOUND: "Deploy the stack, or give the service its new binding.",
    FaultKind.DENIED: "Declare the right under `[services.NAME]` and deploy; check which identity the process has.",
    FaultKind.UNAUTHENTICATED: "Give the process credentials, or new ones.",
    FaultKind.LEASE_LOST: "Nothing: the message comes again. If it is frequent, see troubleshooting.",
    FaultKind.STORAGE: "See to the file and the disk that the text names.",
    FaultKind.KEY_BLOCKED: "Mend the earlier message of that key, and publish both again, in order.",
    FaultKind.DEADLINE: "See the last fault, which it ends with; give a longer `deadline` where that is right.",
    FaultKind.CANCELLED: "Publish before the bus is closed.",
}

_CODES_HEAD = """\

## The clouds' own codes

What stands in parentheses after a kind, by cloud. A code that isn't here counts by its HTTP status: 4xx is `invalid`,
429 `throttled`, 5xx `unavailable` or `internal`.
"""


def page() -> str:
    """Return the page."""
    doc = inspect.cleandoc(polybus.errors.__doc__ or "").partition("\n\n")[2]
    raised = literal_blocks(doc)
    clouds = "\n".join(_cloud(name, codes, advice) for name, (codes, advice) in _PLACES.items())
    return f"{_HEAD}{raised}\n\n{_classes()}{_KINDS_HEAD}{_kinds()}{_CODES_HEAD}\n{clouds}\n{_store()}\n{_exits()}"


def _classes() -> str:
    names = (name for name in polybus.errors.__all__ if name not in ("Fault", "FaultKind"))
    return table(["exception", "when"], ([code(name), summary(getattr(polybus.errors, name))] for name in names))


def _kinds() -> str:
    comments = dict(re.findall(r'^\s+([A-Z_]+) = "[a-z_]+"  # (.*)$', inspect.getsource(FaultKind), re.MULTILINE))
    head = ["kind", "when", "tried again", "what to do"]
    rows = (
        [code(kind.value), comments[kind.name], "yes" if kind.retryable else "no", _TO_DO[kind]] for kind in FaultKind
    )
    return table(head, rows)


# Where each cloud's driver keeps its codes, and what it advises.
_PLACES: Mapping[str, tuple[tuple[str, ...], str]] = {
    "aws": (("polybus.clouds.aws.driver.codes:_CODES",), "polybus.clouds.aws.driver.faults:_ADVICE"),
    "azure": (
        ("polybus.clouds.azure.driver.faults:_CONDITIONS", "polybus.clouds.azure.driver.faults:_STATUSES"),
        "polybus.clouds.azure.driver.faults:_ADVICE",
    ),
    "gcp": (("polybus.clouds.gcp.driver.faults:_KINDS",), "polybus.clouds.gcp.driver.faults:_ADVICE"),
}


def _cloud(name: str, codes: tuple[str, ...], advice: str) -> str:
    by_kind: defaultdict[FaultKind, list[str]] = defaultdict(list)
    for place in codes:
        for found, kind in _at(place).items():
            by_kind[kind].append(code(getattr(found, "name", found)))
    told = _at(advice)
    rows = (
        [code(kind.value), ", ".join(sorted(by_kind[kind])), told.get(kind, "")]
        for kind in FaultKind
        if by_kind[kind] or kind in told
    )
    return f"### {find(name).title}\n\n{table(['kind', 'codes', 'what the error advises'], rows)}"


def _at(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def _store() -> str:
    rows = ([code(name), advice] for name, advice in _sqlite())
    return f"### The embedded store\n\n{table(['code', 'what the error says'], rows)}"


def _sqlite() -> Iterator[tuple[str, str]]:
    names = {getattr(sqlite3, name): name for name in dir(sqlite3) if re.fullmatch(r"SQLITE_[A-Z]+", name)}
    primary = {number: name for number, name in names.items() if isinstance(number, int) and number < 256}
    for number, advice in _at("polybus.embedded.sqlite.faults:_STORAGE").items():
        yield _NAMED.get(number, primary[number]), advice


# Constants of sqlite3 that aren't result codes share their numbers with some that are.
_NAMED = {
    number: name
    for name in [
        "SQLITE_FULL",
        "SQLITE_READONLY",
        "SQLITE_PERM",
        "SQLITE_CANTOPEN",
        "SQLITE_AUTH",
        "SQLITE_CORRUPT",
        "SQLITE_NOTADB",
        "SQLITE_IOERR",
        "SQLITE_NOLFS",
        "SQLITE_SCHEMA",
        "SQLITE_ERROR",
        "SQLITE_PROTOCOL",
    ]
    for number in [getattr(sqlite3, name)]
}


def _exits() -> str:
    about = inspect.cleandoc(main.__doc__ or "").partition("\n\n")[2].partition(".")[0]
    codes = re.findall(r"(\d+) ([a-z ]+)", about)
    rows = table(["exit code", "meaning"], ([number, meaning] for number, meaning in codes))
    return f"## Exit codes\n\n{rows}\n`polybus run` has [more](../health.md#exit-codes-of-polybus-run).\n"
