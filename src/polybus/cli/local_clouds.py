"""The local clouds, by name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, cast

from polybus.errors import MissingExtra
from polybus.plan.planning import local_of
from polybus.registry import find

if TYPE_CHECKING:
    from polybus.localcloud.server import LocalServer

__all__ = ["load"]


def load(cloud: str, *, port: int, data: Path | None) -> LocalServer:
    """Build a cloud's server; raises MissingExtra where it or the cloud's SDK isn't installed."""
    from polybus.localcloud.server import LOOPBACK

    local = local_of(cloud)
    try:
        for module in local.modules:
            importlib.import_module(module)
        return cast("LocalServer", local.server(LOOPBACK, port, data))
    except ModuleNotFoundError as error:
        raise MissingExtra(f"{error.name} (for the local {cloud})", f"{find(cloud).extra or cloud},local") from error
