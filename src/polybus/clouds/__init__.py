"""The backends, by name; none is imported before it is asked for.

Third parties register theirs under the entry point group `polybus.clouds`: the name, and a callable that is a
`polybus.driver.DriverFactory`.
"""

from __future__ import annotations

import difflib
from importlib import import_module
from typing import TYPE_CHECKING, cast

from polybus.driver import DriverFactory
from polybus.errors import BindingError, MissingExtra

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["GROUP", "load", "names"]

GROUP = "polybus.clouds"

_BUILT_IN = {
    "memory": "polybus.embedded.memory",
    "sqlite": "polybus.embedded.sqlite",
    "aws": "polybus.clouds.aws.driver",
    "azure": "polybus.clouds.azure.driver",
    "gcp": "polybus.clouds.gcp.driver",
}
# By backend, the packages whose absence means that its extra isn't installed, with what they are installed as.
_EXTRAS = {
    "aws": {"boto3": "boto3", "botocore": "boto3"},
    "azure": {"azure": "azure-servicebus", "aiohttp": "aiohttp"},
    "gcp": {"google": "google-cloud-pubsub", "grpc": "google-cloud-pubsub"},
}


def names() -> tuple[str, ...]:
    """List the backends that exist: the built-in ones, then those that installed packages register."""
    return (*_BUILT_IN, *sorted(_registered().keys() - set(_BUILT_IN)))


def load(name: str) -> DriverFactory:
    """Return the factory of a backend, importing it now.

    Raises BindingError for a name that isn't there, and MissingExtra where the cloud's SDK is not installed.
    """
    if name in _BUILT_IN:
        return _load_built_in(name)
    registered = _registered()
    if name in registered:
        return _load_registered(registered[name])
    known = names()
    near = difflib.get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise BindingError(f"no backend named {name!r}; there are: {', '.join(known)}{hint}")


def _registered() -> dict[str, EntryPoint]:
    from importlib.metadata import entry_points  # slow to import; what is built in doesn't need it

    return {point.name: point for point in entry_points(group=GROUP)}


def _load_built_in(name: str) -> DriverFactory:
    try:
        return cast(DriverFactory, import_module(_BUILT_IN[name]).driver)
    except ModuleNotFoundError as error:
        missing = _EXTRAS.get(name, {}).get((error.name or "").partition(".")[0])
        if missing is None:
            raise
        raise MissingExtra(f"the {name} backend needs {missing}, which", name) from error


def _load_registered(point: EntryPoint) -> DriverFactory:
    try:
        return cast(DriverFactory, point.load())
    except (ImportError, AttributeError) as error:
        owner = point.dist.name if point.dist is not None else "an installed package"
        raise BindingError(
            f"backend {point.name!r}: {owner} registers {point.value!r}, which can't be loaded: {error}"
        ) from error
