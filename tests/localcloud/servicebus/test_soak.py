"""Long and wide runs. POLYBUS_SOAK_SCALE=1 is the whole soak: a million messages, 500 links, 10 minutes of fuzz."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus.aio import ServiceBusClient
from azure.servicebus.management import ServiceBusAdministrationClient

from polybus.localcloud.server import free_port
from polybus.localcloud.servicebus import ServiceBusServer

SCALE = float(os.environ.get("POLYBUS_SOAK_SCALE", "0.02"))
MESSAGES = int(1_000_000 * SCALE)
LINKS = 500 if SCALE >= 1 else 50
FUZZ_SECONDS = 600 * SCALE
SEED = 20
BATCH = 200
# Between a warm server and one that has completed everything: an interpreter's arenas grow by a few MB under any load,
# while 20,000 leaked messages of 200 bytes, the least of any scale, would take more than twice this.
ALLOWED_KIB = 8 * 1024


class Process:
    """A server in a process of its own, so that its memory and CPU are its own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.certificate = folder / "servicebus-ca.pem"
        command = [
            sys.executable,
            "-m",
            "polybus.localcloud.run",
            "azure",
            "--port",
            str(self.port),
            "--data",
            str(folder),
        ]
        self._log = folder / "log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("ready")
        self.connection_string = ServiceBusServer(port=self.port).connection_string()

    def resident_kib(self) -> int:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
        raise AssertionError("the server has no memory: it has ended")

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def sockets(self) -> int:
        links = (entry.readlink() for entry in Path(f"/proc/{self._process.pid}/fd").iterdir())
        return sum(1 for link in links if str(link).startswith("socket:"))

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it, and see that it ended well and had nothing to complain of."""
        self._process.terminate()
        self._process.communicate(timeout=60)
        assert self._log.read_text() == ""
        assert self._process.returncode == 0


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    running = Process(tmp_path)
    with ServiceBusAdministrationClient.from_connection_string(
        running.connection_string, connection_verify=str(running.certificate)
    ) as admin:
        admin.create_queue("q")
    yield running
    running.stop()


async def pass_through(client: ServiceBusClient, count: int, mode: ServiceBusReceiveMode) -> None:
    """Send and complete `count` messages, with never more than two batches waiting."""
    sender, receiver = client.get_queue_sender("q"), client.get_queue_receiver("q", receive_mode=mode, max_wait_time=30)
    async with sender, receiver:
        waiting = 0
        while count or waiting:
            if count and waiting < BATCH:
                batch = min(count, BATCH)
                await sender.send_messages([ServiceBusMessage(os.urandom(100).hex()) for _ in range(batch)])
                count, waiting = count - batch, waiting + batch
            for message in await receiver.receive_messages(waiting):
                if mode is ServiceBusReceiveMode.PEEK_LOCK:
                    await receiver.complete_message(message)
                waiting -= 1


async def test_memory_is_flat_once_messages_are_completed(process: Process) -> None:
    async with ServiceBusClient.from_connection_string(process.connection_string) as client:
        locked = MESSAGES // 4
        warm = min(4 * BATCH, MESSAGES)
        await pass_through(client, warm, ServiceBusReceiveMode.PEEK_LOCK)
        before, cpu, began = process.resident_kib(), process.cpu_seconds(), time.monotonic()
        await pass_through(client, locked, ServiceBusReceiveMode.PEEK_LOCK)
        await pass_through(client, MESSAGES - locked, ServiceBusReceiveMode.RECEIVE_AND_DELETE)
        grown, cpu = process.resident_kib() - before, process.cpu_seconds() - cpu
    seconds = time.monotonic() - began
    print(
        f"\n{MESSAGES} messages in {seconds:.0f} s: {MESSAGES / seconds:.0f}/s, server CPU "
        f"{cpu / MESSAGES * 1e6:.0f} us a message, memory {grown:+d} KiB"
    )
    assert grown < ALLOWED_KIB


async def test_many_links_at_once(process: Process) -> None:
    """Each link is one of a client of its own, with its own connection, as the library makes them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > LINKS + 100, "the limit of open files is too low for this soak"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    async with ServiceBusClient.from_connection_string(process.connection_string) as client:
        receivers = [client.get_queue_receiver("q", max_wait_time=60) for _ in range(LINKS)]
        for start in range(0, LINKS, 25):
            await asyncio.gather(*(receiver.__aenter__() for receiver in receivers[start : start + 25]))
        pending = [asyncio.create_task(receiver.receive_messages(1, max_wait_time=120)) for receiver in receivers]
        async with client.get_queue_sender("q") as sender:
            await sender.send_messages([ServiceBusMessage(str(number)) for number in range(LINKS)])
        got = await asyncio.gather(*pending)
        await asyncio.gather(*(r.complete_message(m) for r, ms in zip(receivers, got, strict=True) for m in ms))
        assert sorted(int(str(message)) for found in got for message in found) == list(range(LINKS))
        print(f"\n{LINKS} links: {process.resident_kib() // 1024} MiB resident, {process.sockets()} sockets")
        for start in range(0, LINKS, 25):
            await asyncio.gather(*(receiver.close() for receiver in receivers[start : start + 25]))


def test_fuzz(process: Process, peers: Callable[[Any], Any], corpus: list[bytes]) -> None:
    chance = random.Random(SEED)
    end, count, before = time.monotonic() + FUZZ_SECONDS, 0, process.sockets()
    while time.monotonic() < end:
        data = bytearray(chance.choice(corpus))
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(data))
            match chance.randrange(4):
                case 0:
                    data[at] = chance.choice((0, 1, 0x40, 0x45, 0x7F, 0x80, 0xC0, 0xD0, 0xF0, 0xFF))
                case 1:
                    data[at] ^= 1 << chance.randrange(8)
                case 2:
                    del data[at : at + chance.randint(1, 8)]
                case _:
                    data[at:at] = data[at : at + chance.randint(1, 40)]
        peer = peers(process)
        try:
            peer.send(bytes(data))
            peer.socket.shutdown(1)
        except OSError:
            pass  # the server had heard enough
        peer.ended()
        peer.close()
        count += 1
        assert process.alive
    deadline = time.monotonic() + 20
    while process.sockets() > before:
        assert time.monotonic() < deadline, "connections are left"
        time.sleep(0.05)
    print(f"\n{count} conversations in {FUZZ_SECONDS:.0f} s, {process.sockets()} sockets as before")
    assert count > 0
