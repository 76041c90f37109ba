"""Run one cloud's local server in a process that can be killed: `python -m polybus.testing.torture.serve aws ...`."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from polybus.localcloud.run import serve
from polybus.localcloud.server import LOOPBACK
from polybus.plan.planning import local_of


def main() -> None:
    """Serve until a signal ends it; print `ready HOST PORT` once it accepts connections."""
    parser = argparse.ArgumentParser(prog="python -m polybus.testing.torture.serve", description=__doc__)
    parser.add_argument("cloud")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    asyncio.run(serve(local_of(options.cloud).server(LOOPBACK, options.port, options.data)))


if __name__ == "__main__":
    main()
