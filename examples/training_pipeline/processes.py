"""Child processes whose lines are read as they come."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
POLYBUS = (sys.executable, "-m", "polybus.cli.main")


class Child:
    """One process; `on_line` gets every line that it prints, stdout and stderr alike."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, on_line: Callable[[str], None]) -> None:
        self.name = name
        self.lines: list[str] = []
        self._process = process
        self._on_line = on_line
        self._reader = asyncio.create_task(self._read(), name=f"lines of {name}")

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], environment: Mapping[str, str], on_line: Callable[[str], None]
    ) -> Child:
        """Start a command in the example's folder."""
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=HERE,
            env={**environment, "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        return cls(name, process, on_line)

    async def wait(self) -> int:
        """Return its exit code once it has ended and all of its lines were read."""
        await asyncio.shield(self._reader)  # others wait for it too: who gives up waiting doesn't end it
        return await self._process.wait()

    async def failed(self) -> None:
        """Wait for it to end, and raise: services and clouds run until they are told to stop."""
        code = await self.wait()
        raise RuntimeError(f"{self.name} ended by itself with {code}:\n" + "\n".join(self.lines[-10:]))

    async def terminate(self) -> int:
        """Send SIGTERM and return the exit code."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await self.wait()

    def kill(self) -> None:
        """End it at once, where the demo itself is cut short."""
        if self._process.returncode is None:
            self._process.kill()

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip()
            self.lines.append(text)
            self._on_line(text)


async def run(command: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that it printed to stdout."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=HERE,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()
