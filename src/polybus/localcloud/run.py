"""Run one local server in a process of its own: `python -m polybus.localcloud.run aws --port 4566 --data DIR`.

Prints one line, `ready HOST PORT`, once it accepts connections, and runs until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import signal
from collections.abc import Sequence
from pathlib import Path

from polybus.localcloud.server import LOOPBACK, LocalServer, running
from polybus.signals import heeded

__all__ = ["SERVERS", "load", "main", "serve"]

SERVERS = {
    "aws": ("polybus.localcloud.aws.server", "AwsServer"),
    "azure": ("polybus.localcloud.servicebus.server", "ServiceBusServer"),
    "gcp": ("polybus.localcloud.pubsub.server", "PubsubServer"),
}


def load(cloud: str, *, host: str, port: int, data: Path | None) -> LocalServer:
    """Build the server that stands in for `cloud`, a key of SERVERS; only its own module and SDKs are imported."""
    module, name = SERVERS[cloud]
    server: LocalServer = getattr(importlib.import_module(module), name)(host=host, port=port, data=data)
    return server


async def serve(server: LocalServer) -> None:
    """Serve until SIGTERM or SIGINT; print `ready HOST PORT` once it accepts connections."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in heeded(signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with running(server):
        print(f"ready {server.host} {server.port}", flush=True)
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends it; raises OSError where the port is taken or the folder can't be used."""
    parser = argparse.ArgumentParser(prog="python -m polybus.localcloud.run", description=__doc__)
    parser.add_argument("cloud", choices=sorted(SERVERS))
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: any free one)")
    parser.add_argument("--data", type=Path, default=None, help="folder that outlives a restart (default: memory only)")
    options = parser.parse_args(arguments)
    asyncio.run(serve(load(options.cloud, host=options.host, port=options.port, data=options.data)))


if __name__ == "__main__":
    main()
