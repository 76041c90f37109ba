"""The schema of a type as it is in another folder: that of another version of the same program."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from polybus.contracts.load import Contract, is_file, load
from polybus.errors import ConfigError

__all__ = ["load_in"]

_PROGRAM = """
import base64, json, sys
from polybus.contracts.load import load
from polybus.errors import ConfigError
try:
    found = load(sys.argv[1])
    if found.kind == "protobuf":
        print(json.dumps({"name": found.schema.name, "files": base64.b64encode(found.schema.files).decode()}))
    else:
        print(json.dumps({"schema": found.schema}))
except ConfigError as error:
    print(json.dumps({"error": str(error)}))
"""
# Seconds that a program's imports may take; it is someone's code.
_PATIENCE = 60


def load_in(reference: str, folder: Path) -> Contract:
    """Read a contract as it is in `folder`; a type is imported there, by a process of its own.

    Modules are found in the folder, and in the `src` in it, before those of this environment. Raises ConfigError.
    """
    if is_file(reference):
        return load(reference, folder)
    where = f"{reference} as it is in {folder}"
    path = os.pathsep.join([str(folder), str(folder / "src"), *(each for each in sys.path if each)])
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and a program of ours
            [sys.executable, "-c", _PROGRAM, reference],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        told: Any = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{where}: importing it takes longer than {_PATIENCE} s") from None
    except (subprocess.CalledProcessError, ValueError, IndexError) as error:
        raise ConfigError(f"{where}: can't be read ({type(error).__name__})") from None
    if "error" in told:
        raise ConfigError(f"{where}: {told['error']}")
    if "files" in told:
        from polybus.contracts.proto_file import message_in

        return Contract(reference, "protobuf", message_in(base64.b64decode(told["files"]), told["name"]))
    return Contract(reference, "json", told["schema"])
