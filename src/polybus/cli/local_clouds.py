"""The local clouds, by name."""

from __future__ import annotations

import importlib
import os
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
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core says on stderr what we say: that a port is taken
    try:
        for module in local.modules:
            importlib.import_module(module)
        return cast("LocalServer", local.server(LOOPBACK, port, data))
    except ModuleNotFoundError as error:
        what, found = f"{error.name} (for the local {cloud})", find(cloud)
        if found.extra:
            raise MissingExtra(what, f"{found.extra},local") from error
        missing = (error.name or "").partition(".")[0]
        raise MissingExtra(what, "", install=found.packages.get(missing, missing)) from error
