"""A program as a local server: it ends with who started it, and what keeps it from starting is said."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from polybus.errors import ConfigError
from polybus.localcloud.process import ProcessServer
from polybus.localcloud.server import running


class Web(ProcessServer):
    cloud = "web"
    install = "apt-get install web"

    def command(self) -> Sequence[str]:
        folder = str(self.data or "/")
        words = ("-m", "http.server", str(self.port), "--bind", self.host, "--directory", folder)
        return (sys.executable, *words)

    def answers(self) -> bool:
        return listens(self.host, self.port)


def listens(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port)).close()
    except OSError:
        return False
    return True


async def test_it_runs_for_the_length_of_a_block(tmp_path: Path) -> None:
    async with running(Web(data=tmp_path / "new")) as server:
        assert server.answers()
        assert server.env() == {}
        assert (tmp_path / "new").is_dir()
    assert not server.answers()
    await server.stop()


STARTS = """
import asyncio, time
from tests.localcloud.test_process import Web
server = Web()
asyncio.run(server.start())
print(server.port, flush=True)
time.sleep(600)
"""


def test_it_ends_with_who_started_it_whatever_becomes_of_that() -> None:
    root = Path(__file__).parents[2]
    places = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    command = [sys.executable, "-c", STARTS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": places}) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        assert listens("127.0.0.1", port)
        process.kill()
    while listens("127.0.0.1", port):  # it is killed soon after, and if it isn't, the run's own limit ends this
        time.sleep(0.01)


async def test_a_port_that_is_taken_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        await Web(port=taken.getsockname()[1]).start()


async def test_a_program_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ConfigError, match=r"the local web needs .*: apt-get install web"):
        await Web().start()


class Failing(Web):
    def command(self) -> Sequence[str]:
        return (sys.executable, "-c", "raise SystemExit(7)")


async def test_a_program_that_ends_at_once_is_said() -> None:
    server = Failing()
    with pytest.raises(OSError, match="ended at once, with 7"):
        await server.start()
    await server.stop()
