"""The local clouds, by name."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from polybus.errors import ConfigError, MissingExtra
from polybus.plan.planning import local_of
from polybus.registry import find

if TYPE_CHECKING:
    from polybus.localcloud.server import LocalServer

__all__ = ["load"]


def load(cloud: str, *, port: int | None, data: Path | None, tls: bool = False) -> LocalServer:
    """Build a cloud's server on a port, or with None on the ports where its clients look that are told none.

    With `tls` it speaks TLS. Raises MissingExtra where it or the cloud's SDK isn't installed, and ConfigError where
    there are no such ports, or where it has no TLS.
    """
    from polybus.localcloud.server import LOOPBACK

    local = local_of(cloud)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # its core says on stderr what we say: that a port is taken
    try:
        for module in local.modules:
            importlib.import_module(module)
        if port is not None:
            server = local.server(LOOPBACK, port, data)
        elif local.standard is None:
            raise ConfigError(f"the local {cloud} has no standard ports: name one with --port")
        else:
            server = local.standard(LOOPBACK, data)
        if tls:
            if local.secure is None:
                raise ConfigError(f"the local {cloud} has no TLS: leave --tls out")
            local.secure(server)
        return cast("LocalServer", server)
    except ModuleNotFoundError as error:
        what, found = f"{error.name} (for the local {cloud})", find(cloud)
        if found.extra:
            raise MissingExtra(what, f"{found.extra},local") from error
        missing = (error.name or "").partition(".")[0]
        raise MissingExtra(what, "", install=found.packages.get(missing, missing)) from error
