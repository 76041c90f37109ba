"""How the double of the engine runs programs, in place of the CLI's language host: see `engine.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Host"]


class Host:
    """Runs programs, each in a process of its own, which has `packages` imported already; ended with the block."""

    def __init__(self, packages: Sequence[str]) -> None:
        command = [sys.executable, str(Path(__file__).with_name("engine_program.py")), *packages]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()

    def run(self, config: Mapping[str, Any], **arguments: Any) -> str:
        """Run a program with a stack's configuration and what `engine_program.run` takes; return what went wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = {"arguments": arguments, "config": json.dumps(_texts(config))}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        return "" if answer["code"] == 0 else str(answer["printed"])


def _texts(config: Mapping[str, Any]) -> dict[str, str]:
    """Write configuration as the CLI hands it over: what is structured as JSON."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in config.items()}
