"""One side of a large body, as a process of its own: `flat.py put|get URL OPTIONS SIZE FILE`; prints its memory in MiB.

`put` publishes a body of SIZE bytes that it never has as a whole; `get` has a handler write it to a file.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import polybus
from polybus.blobs import Blob, Blobs
from polybus.topology.file import loads

BUS = Path("bus.db").absolute()
PIECE = bytes(range(256)) * 4096
TOPOLOGY = loads('[bus]\nname = "shop"\n[queues.models]\n', source="polybus.toml")


def most() -> int:
    """Return the most memory that this process has had, in MiB; getrusage has that of who started it, too."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


async def pieces(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield bytes(bytearray(PIECE))  # memory of its own: obstore takes it as it is, and the same again costs nothing


async def put(bus: polybus.Bus, blobs: Blobs, size: int) -> None:
    await bus.publish("models", await blobs.put(pieces(size)))


async def get(bus: polybus.Bus, blobs: Blobs, size: int) -> None:
    app = polybus.App(middleware=[blobs])
    done = asyncio.Event()

    @app.handler("models")
    async def keep(blob: Blob) -> None:
        await blob.save_to("model")
        assert blob.size == size
        done.set()

    async with app.running(bus=bus):
        await done.wait()


async def main(side: str, url: str, options: str, size: int) -> None:
    from polybus.embedded.plan import local_binding

    blobs = Blobs(url, bus="shop", options=json.loads(options))
    binding = local_binding(TOPOLOGY, backend="sqlite", path=BUS)
    async with polybus.connect(binding, middleware=[blobs]) as bus:
        # What importing, connecting and a first object take is there before it is measured.
        await blobs.store.read(await blobs.put(PIECE))
        before = most()
        await (put if side == "put" else get)(bus, blobs, size)
        after = most()
    sys.stdout.write(f"{before} {after}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))
