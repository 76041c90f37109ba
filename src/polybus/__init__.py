"""One messaging interface for Python services, on three clouds and none.

    import polybus

    async with polybus.connect() as bus:
        await bus.publish("orders", {"total": 12}, attributes={"region": "eu"})

Configuration decides the backend; see docs/ for the contract that all of them keep.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

# Locks of files, pipes with names, signals: at the first of them it would fail far from here, or quietly do without.
if sys.platform == "win32":
    raise ImportError(
        "polybus needs POSIX and doesn't run on Windows; run it in the Windows Subsystem for Linux or in a container"
    )

if TYPE_CHECKING:
    import polybus.sync as sync  # noqa: PLR0402 - via __getattr__ it would be Any
    from polybus.app import App
    from polybus.binding import Binding, Entity
    from polybus.blobs.blob import Blob
    from polybus.bus.bus import Bus
    from polybus.bus.connect import connect
    from polybus.bus.consumer import Consumer, Consumption
    from polybus.bus.delivery import Delivery
    from polybus.bus.options import ConsumerOptions, PublisherOptions
    from polybus.bus.redrive import DeadLetters
    from polybus.clock import Clock, ManualClock, SteppedClock, SystemClock
    from polybus.driver import Peeked, Stats
    from polybus.errors import (
        AppFailed,
        BackendError,
        BatchFailed,
        BindingError,
        BusClosed,
        ConfigError,
        DeadLetter,
        DecodeError,
        Fault,
        FaultKind,
        FilterError,
        LeaseLost,
        MissingExtra,
        NotDeclared,
        PolybusError,
        PublishFailed,
        Retry,
        TopologyError,
        UnsupportedFeature,
    )
    from polybus.feature import Feature
    from polybus.message import Message, Sent

__version__ = "0.1.0"

__all__ = [
    "App",
    "AppFailed",
    "BackendError",
    "BatchFailed",
    "Binding",
    "BindingError",
    "Blob",
    "Bus",
    "BusClosed",
    "Clock",
    "ConfigError",
    "Consumer",
    "ConsumerOptions",
    "Consumption",
    "DeadLetter",
    "DeadLetters",
    "DecodeError",
    "Delivery",
    "Entity",
    "Fault",
    "FaultKind",
    "Feature",
    "FilterError",
    "LeaseLost",
    "ManualClock",
    "Message",
    "MissingExtra",
    "NotDeclared",
    "Peeked",
    "PolybusError",
    "PublishFailed",
    "PublisherOptions",
    "Retry",
    "Sent",
    "Stats",
    "SteppedClock",
    "SystemClock",
    "TopologyError",
    "UnsupportedFeature",
    "connect",
    "sync",
]

# Loaded at first use: asyncio and msgspec alone take longer to import than a program may wait that only wants, say, an
# exception, or prints a help text.
_PLACES = {
    "polybus.app": ("App",),
    "polybus.binding": ("Binding", "Entity"),
    "polybus.blobs.blob": ("Blob",),
    "polybus.bus.bus": ("Bus",),
    "polybus.bus.connect": ("connect",),
    "polybus.bus.consumer": ("Consumer", "Consumption"),
    "polybus.bus.delivery": ("Delivery",),
    "polybus.bus.options": ("ConsumerOptions", "PublisherOptions"),
    "polybus.bus.redrive": ("DeadLetters",),
    "polybus.clock": ("Clock", "ManualClock", "SteppedClock", "SystemClock"),
    "polybus.driver": ("Peeked", "Stats"),
    "polybus.errors": (
        "AppFailed",
        "BackendError",
        "BatchFailed",
        "BindingError",
        "BusClosed",
        "ConfigError",
        "DeadLetter",
        "DecodeError",
        "Fault",
        "FaultKind",
        "FilterError",
        "LeaseLost",
        "MissingExtra",
        "NotDeclared",
        "PolybusError",
        "PublishFailed",
        "Retry",
        "TopologyError",
        "UnsupportedFeature",
    ),
    "polybus.feature": ("Feature",),
    "polybus.message": ("Message", "Sent"),
}
_LAZY = {name: module for module, names in _PLACES.items() for name in names}
# What `import polybus` gives besides, as `polybus.errors`.
_PARTS = frozenset(("binding", "clock", "driver", "errors", "feature", "message", "middleware", "sync"))


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _PARTS:
        return import_module(f"polybus.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'polybus' has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Moved:
    """Finds modules by the names that they had before; asked last, so that it costs those that are there nothing."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if not name.startswith("polybus."):
            return None
        from polybus.moved import spec_of

        return spec_of(name)


sys.meta_path.append(_Moved)
