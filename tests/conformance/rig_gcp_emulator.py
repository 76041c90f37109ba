"""The rig of Google's own emulator, a second opinion on the backend: a Java program, on the machine's own clock."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import shutil

import grpc

from polybus.clock import SystemClock
from polybus.clouds.gcp.plan.resources import GcpPlan
from polybus.localcloud.server import free_port
from polybus.topology.model import Topology

from .rig_gcp import GcpRig

START = 60.0


def find_emulator() -> tuple[str | None, str]:
    """Its jar, or None and why not."""
    # Only when asked for: it knows no clock but the machine's, on which what was on its way to a stream that ended
    # comes again after a minute. The suite would wait for that in more tests than its time allows.
    named = os.environ.get("POLYBUS_PUBSUB_EMULATOR_JAR")
    if not named:
        return None, "POLYBUS_PUBSUB_EMULATOR_JAR names no cloud-pubsub-emulator-*.jar"
    if shutil.which("java") is None:
        return None, f"{named} is named, but there is no java on PATH"
    return named, ""


JAR, WHY_NOT = find_emulator()


# The longest retention that the emulator takes, in seconds; Pub/Sub itself has taken 31 days for years.
RETENTION = 7 * 86_400.0


class EmulatorRig(GcpRig):
    name = "gcp-emulator"

    def __init__(self) -> None:
        super().__init__()
        self.clock = SystemClock()
        self._process: asyncio.subprocess.Process | None = None

    def plan(self, topology: Topology) -> GcpPlan:
        """Plan what the emulator has: no IAM, and no retention over 7 days."""
        shorter = {
            section: {
                name: dataclasses.replace(item, dead_letter_retention=RETENTION)
                for name, item in getattr(topology, section).items()
            }
            for section in ("subscriptions", "queues")
        }
        planned = super().plan(dataclasses.replace(topology, **shorter))
        resources = tuple(each for each in planned.resources if "IAMMember" not in each.type)
        return dataclasses.replace(planned, resources=resources)

    async def start(self) -> str:
        assert JAR is not None
        address = f"127.0.0.1:{free_port()}"
        host, port = address.split(":")
        arguments = ["-jar", JAR, f"--host={host}", f"--port={port}"]
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec("java", *arguments, stdout=quiet, stderr=quiet)
        async with grpc.aio.insecure_channel(address) as channel:
            await asyncio.wait_for(channel.channel_ready(), START)
        return address

    async def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            await asyncio.wait_for(self._process.wait(), self.patience)
