"""What other packages extend and call says what it does: the conformance kit, and the local servers."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Container, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import polybus.localcloud.server
import polybus.testing
from polybus.claims import ClaimStore
from polybus.clock import Clock
from polybus.driver import AdminDriver, ConsumerDriver, Driver, PublisherDriver
from polybus.flow import Limit, Shared
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.pubsub import PubsubServer
from polybus.localcloud.server import LocalServer
from polybus.localcloud.servicebus import ServiceBusServer
from polybus.telemetry import Hooks
from polybus.testing.rig import Rig
from polybus.testing.torture.sites import Site

KIT = sorted(
    info.name
    for info in pkgutil.walk_packages(polybus.testing.__path__, "polybus.testing.")
    if "__main__" not in info.name
)
SERVERS = (AwsServer, PubsubServer, ServiceBusServer)
DRIVER = (AdminDriver, ConsumerDriver, Driver, PublisherDriver)
GUIDE = Path(__file__).parents[2] / "docs/write-a-backend.md"
# What applications call and extend besides what `polybus` itself exports.
ADD_ONS = """
    blobs.blob blobs.middleware blobs.store claims cloudevents codec encryption.middleware encryption.sealed flow
    flow_redis middleware once.claiming once.memory once.once once.redis once.sql once.sqlite outbox.outbox outbox.relay
    outbox.sql outbox.store provision.laptop.cloud plan.run.model plan.terraform.model
"""


def public() -> list[str]:
    """List the modules that the guide for backends calls public."""
    section = GUIDE.read_text().partition("## What is public")[2].partition("`polybus.driver.VERSION`")[0]
    return [f"polybus.{name}" for line in section.split("- **")[1:] for name in re.findall(r"`([a-z_.]+)`", line)]


def promised(*protocols: type) -> set[str]:
    """Return the names of the methods of interfaces, where their obligations stand."""
    return {name for kind in protocols for name, value in vars(kind).items() if is_told_of(name, value)}


def is_told_of(name: str, value: object) -> bool:
    """Say whether a member of a class is one that its users call; what a test is for, its name says."""
    called = inspect.isfunction(value) or isinstance(value, property | staticmethod | classmethod)
    given = getattr(value, "__name__", "") == "<lambda>"  # the default of a field
    return called and not given and not name.startswith(("_", "test_"))


def parts(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Give the public classes and functions that a module defines, and their public members."""
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value):
            yield from members(value)
        elif inspect.isfunction(value):
            yield f"{module.__name__}.{name}", value


def exported(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Give the classes and functions that a module exports, wherever they are defined, and their public members."""
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            yield from members(value)
        elif inspect.isfunction(value):
            yield f"{module.__name__}.{name}", value


def members(kind: type) -> Iterator[tuple[str, Any]]:
    place = f"{kind.__module__}.{kind.__name__}"
    yield place, kind
    for name, value in vars(kind).items():
        if is_told_of(name, value):
            yield f"{place}.{name}", getattr(kind, name)


def unexplained(found: Iterator[tuple[str, Any]], known: Container[str] = ()) -> list[str]:
    """Return what has no docstring that is a sentence, unless its name is `known`."""
    sentence = re.compile(r"[A-Z`].*[.:]")
    return [
        place
        for place, value in found
        if place.rpartition(".")[2] not in known and not sentence.match(" ".join((inspect.getdoc(value) or "").split()))
    ]


@pytest.mark.parametrize("name", KIT)
def test_what_the_kit_offers_is_explained(name: str) -> None:
    assert unexplained(parts(importlib.import_module(name)), promised(*DRIVER, Clock, Rig, Site)) == []


@pytest.mark.parametrize("name", [*public(), *(f"polybus.{name}" for name in ADD_ONS.split())])
def test_what_others_extend_is_explained(name: str) -> None:
    known = promised(*DRIVER, Clock, Rig, Site, ClaimStore, Limit, Shared, Hooks)
    assert unexplained(exported(importlib.import_module(name)), known) == []


def test_what_local_servers_offer_is_explained() -> None:
    assert unexplained(parts(polybus.localcloud.server)) == []
    for server in SERVERS:
        assert unexplained(members(server), promised(LocalServer)) == []
