"""The clouds and other backends, by name; none is imported before it is asked for.

Packages register theirs under the entry point group `polybus.clouds`: the name, and a `polybus.cloud.Cloud`. One that
has a driver and nothing else may register its `polybus.driver.DriverFactory` itself.
"""

from __future__ import annotations

import difflib
import functools
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, cast

from polybus.cloud import INTERFACE, Cloud
from polybus.errors import BindingError, ConfigError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from polybus.driver import DriverFactory

__all__ = ["BUILT_IN", "GROUP", "built_in", "each", "find", "libraries", "load", "names", "offering"]

GROUP = "polybus.clouds"

BUILT_IN = {
    "memory": "polybus.embedded.memory:CLOUD",
    "sqlite": "polybus.embedded.sqlite:CLOUD",
    "aws": "polybus.clouds.aws:CLOUD",
    "azure": "polybus.clouds.azure:CLOUD",
    "gcp": "polybus.clouds.gcp:CLOUD",
}
"""What polybus itself registers (pyproject.toml), written here too: reading all installed packages' entry points takes
longer than importing polybus, and who uses none of another package needn't wait for it."""

# Where packages registered their drivers before; looked at until 0.2.
_FORMER = "polybus.backends"

_log = logging.getLogger("polybus")


def names() -> tuple[str, ...]:
    """List the backends that exist: the built-in ones, then those that installed packages register."""
    return (*BUILT_IN, *sorted(_registered().keys() - BUILT_IN.keys()))


def offering(part: str) -> tuple[str, ...]:
    """List the backends that have a part, by the name of its field in `Cloud`, as `each` gives them."""
    return tuple(cloud.name for cloud in each(part))


def built_in(part: str) -> Iterator[Cloud]:
    """Give polybus's own clouds that have a part, by the name of its field."""
    return (cloud for cloud in map(find, BUILT_IN) if cloud.offers(part))


def each(part: str) -> Iterator[Cloud]:
    """Give the clouds that have a part, by the name of its field; the built-in ones first.

    One that can't be loaded is left out, with a warning: what the others offer can be had all the same.
    """
    yield from built_in(part)
    for name in names()[len(BUILT_IN) :]:
        try:
            cloud = find(name)
        except ConfigError as error:
            _log.warning("%s", error)
            continue
        if cloud.offers(part):
            yield cloud


def find(name: str) -> Cloud:
    """Return a cloud by its name; raises BindingError for a name that isn't there, or can't be loaded."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        return cast(Cloud, getattr(import_module(module), attribute))
    registered = _registered()
    if name in registered:
        return _of_a_package(registered[name])
    known = names()
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise BindingError(f"no backend named {name!r}; there are: {', '.join(known)}{hint}")


def libraries() -> tuple[str, ...]:
    """List the loggers of the clouds' libraries, of which a service's log has the warnings.

    At INFO azure-servicebus alone writes some thirty lines for each link that it opens.
    """
    return tuple(sorted({logger for cloud in each("driver") for logger in cloud.loggers}))


def load(name: str) -> DriverFactory:
    """Return the factory of a backend's driver, importing it now.

    Raises BindingError for a name that isn't there, and MissingExtra where the cloud's SDK is not installed.
    """
    return cast("DriverFactory", find(name).load("driver"))


def _registered() -> Mapping[str, EntryPoint]:
    return _registered_on(tuple((place, _changed_at(place)) for place in sys.path))


@functools.lru_cache(maxsize=1)
def _registered_on(places: tuple[tuple[str, int], ...]) -> Mapping[str, EntryPoint]:
    """Read what is registered on a path as it is now: some 50 ms where hundred packages are installed."""
    from importlib.metadata import entry_points  # slow to import; what is built in doesn't need it

    return {point.name: point for group in (_FORMER, GROUP) for point in entry_points(group=group)}


def _changed_at(place: str) -> int:
    """Return when something was last installed in a folder or removed from it; 0 where there is none."""
    try:
        return os.stat(place or ".").st_mtime_ns
    except OSError:
        return 0


def _of_a_package(point: EntryPoint) -> Cloud:
    owner = point.dist.name if point.dist is not None else "an installed package"
    place = f"backend {point.name!r}: {owner} registers {point.value!r}"
    try:
        found = point.load()
    except (ImportError, AttributeError) as error:
        raise BindingError(f"{place}, which can't be loaded: {error}") from error
    if point.group == _FORMER:
        warnings.warn(f"{place} under {_FORMER!r}; it is {GROUP!r} from 0.2 on", DeprecationWarning, stacklevel=3)
    if not isinstance(found, Cloud):
        if not callable(found):
            raise BindingError(f"{place}, which is neither a polybus.cloud.Cloud nor a driver's factory")
        found = Cloud(name=point.name, title=point.name, driver=point.value)
    if found.name != point.name:
        raise BindingError(f"{place}, whose name is {found.name!r}: both have to be the same")
    if found.interface != INTERFACE:
        raise BindingError(
            f"{place}, which is written for version {found.interface} of the interface; this polybus has {INTERFACE}"
        )
    return found
