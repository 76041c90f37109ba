"""Puts the local plugins where engines look for plugins: executables in a folder that is to be on PATH.

The CLI takes a `pulumi-resource-<package>` that it finds on PATH in place of any that is installed, whatever its
version, and says so in a warning ("using pulumi-resource-aws from $PATH at ..."), unless PULUMI_IGNORE_AMBIENT_PLUGINS
is set (sdk/go/common/workspace/plugins.go, getPluginInfoAndPath). So it does with the host of a language.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from .clouds import PACKAGES

__all__ = ["write", "write_language_host"]

_HERE = Path(__file__).parent


def write(folder: Path) -> Path:
    """Write an executable for each provider's package, which runs with this Python, and return the folder."""
    folder.mkdir()
    for package in PACKAGES:
        _write(folder / f"pulumi-resource-{package}", "serve.py", package)
    return folder


def write_language_host(folder: Path, cli: str) -> bool:
    """Write the tests' language host for Python into a folder, unless the CLI at `cli` has Pulumi's own; say so."""
    name = "pulumi-language-python"
    own = shutil.which(name) or shutil.which(name, path=str(Path(cli).resolve().parent))
    if own is None:
        _write(folder / name, "language.py")
    return own is None


def _write(launcher: Path, script: str, *arguments: str) -> None:
    command = shlex.join([sys.executable, str(_HERE / script), *arguments])
    launcher.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    launcher.chmod(0o755)
