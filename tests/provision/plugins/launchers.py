"""Puts the local provider plugins where engines look for plugins: executables in a folder that is to be on PATH.

The CLI takes a `pulumi-resource-<package>` that it finds on PATH in place of any that is installed, whatever its
version, and says so in a warning ("using pulumi-resource-aws from $PATH at ..."), unless PULUMI_IGNORE_AMBIENT_PLUGINS
is set (sdk/go/common/workspace/plugins.go, getPluginInfoAndPath).
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from .clouds import PACKAGES

__all__ = ["write"]

_SERVE = Path(__file__).with_name("serve.py")


def write(folder: Path) -> Path:
    """Write an executable for each package, which runs with this Python, and return the folder."""
    folder.mkdir()
    for package in PACKAGES:
        launcher = folder / f"pulumi-resource-{package}"
        command = shlex.join([sys.executable, str(_SERVE), package])
        launcher.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        launcher.chmod(0o755)
    return folder
