"""Serve a local cloud that stacks make things on: `python -m polybus.cli.laptop_serve SLOTS CLOUD [STATE]`.

SLOTS is the folder of the slots. With a STATE, a name, what is on the cloud outlives this, and so does its port, which
is in addresses that a state has.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from polybus.cli.failures import explain
from polybus.cli.local_clouds import load
from polybus.cli.local_serve import past_proxies, until_signal
from polybus.cli.local_slot import Running, Slot, write
from polybus.errors import ConfigError

__all__ = ["kept", "serve"]


def kept(folder: Path, cloud: str, state: str) -> Path:
    """Return the folder of what is kept of a cloud under a name."""
    return folder / "kept" / state / cloud


async def serve(folder: Path, cloud: str, state: str) -> None:
    """Hold the cloud's slot and serve until SIGINT, SIGTERM or SIGHUP; raise ConfigError where that can't be."""
    from polybus.localcloud.server import running

    os.environ.update(past_proxies(os.environ))
    stopped = until_signal()
    home = kept(folder, cloud, state) if state else None
    port = _port_of(home)
    slot = Slot(folder, cloud)
    with slot.held():
        server = load(cloud, port=port, data=None if home is None else home / "data")
        try:
            async with running(server):
                if home is not None:
                    write(home / "port", str(server.port).encode())
                address = f"{server.host}:{server.port}"
                environment = dict(server.env())
                slot.tell(
                    Running(
                        cloud=cloud,
                        pid=os.getpid(),
                        address=address,
                        environment=environment,
                        bare=True,
                        state=state,
                    )
                )
                await stopped.wait()
        except OSError as error:
            raise ConfigError(
                f"{home or folder}: the local {cloud} can't listen on port {port}, which addresses in the state "
                f"{state!r} have: {error.strerror}; free the port, or choose another --state"
            ) from error


def _port_of(home: Path | None) -> int:
    with suppress(FileNotFoundError):
        return int((home / "port").read_text()) if home is not None else 0
    return 0


def main(arguments: Sequence[str]) -> int:
    """Serve, and return the exit code; what is wrong is told on stderr."""
    folder, cloud, *state = arguments
    try:
        asyncio.run(serve(Path(folder), cloud, *(state or [""])))
    except Exception as error:  # noqa: BLE001 - a process of its own, whose caller reads what it says
        for line in explain(error):
            print(f"polybus: {line}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
