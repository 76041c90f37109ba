"""The rig of Google's own emulator, a second opinion on the backend: a Java program, on the machine's own clock."""

from __future__ import annotations

import asyncio
import dataclasses
import glob
import os
import shutil

import grpc

from polybus.clock import SystemClock
from polybus.localcloud.server import free_port
from polybus.plan.gcp import GcpPlan
from polybus.topology.model import Topology

from .rig_gcp import GcpRig

PLACES = (
    "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar",
    "/usr/share/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar",
    os.path.expanduser("~/google-cloud-sdk/platform/pubsub-emulator/lib/cloud-pubsub-emulator-*.jar"),
)
START = 60.0


def find_emulator() -> tuple[str | None, str]:
    """Its jar, or None and why not."""
    named = os.environ.get("POLYBUS_PUBSUB_EMULATOR_JAR")
    jars = [named] if named else sorted(jar for place in PLACES for jar in glob.glob(place))
    if not jars:
        return None, "no cloud-pubsub-emulator-*.jar was found (POLYBUS_PUBSUB_EMULATOR_JAR names one)"
    if shutil.which("java") is None:
        return None, f"{jars[-1]} is there, but no java on PATH"
    return jars[-1], ""


JAR, WHY_NOT = find_emulator()


# The longest retention that the emulator takes, in seconds; Pub/Sub itself has taken 31 days for years.
RETENTION = 7 * 86_400.0


class EmulatorRig(GcpRig):
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
