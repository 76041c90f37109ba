"""Pulumi: a component that turns a topology into a cloud's resources, and what stack programs need beside it.

What only reads a stack's configuration does without Pulumi.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from polybus.errors import MissingExtra
from polybus.lazy import imported_at_first_use
from polybus.registry import built_in

if TYPE_CHECKING:
    from polybus.provision.bus import MessageBus
    from polybus.provision.reference import binding_of
    from polybus.provision.stack import from_config

__all__ = ["MessageBus", "binding_of", "from_config"]

_PLACES = {"MessageBus": "bus", "binding_of": "reference", "from_config": "stack"}
_find = imported_at_first_use("polybus.provision", _PLACES)


def __getattr__(name: str) -> Any:
    if name in _PLACES and find_spec("pulumi") is None:  # asked first, so that its absence says which extras have it
        extras = [f"{cloud.extra}-stack" for cloud in built_in("provider")]
        raise MissingExtra(f"the Python package pulumi (in the extras {', '.join(extras)})", extras[0])
    return _find(name)
