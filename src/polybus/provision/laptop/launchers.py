"""Puts the local plugins where Pulumi's engine looks for plugins: executables in a folder that is to be on PATH.

The CLI takes a `pulumi-resource-<package>` that it finds on PATH in place of any that is installed, whatever its
version, and says so in a warning ("using pulumi-resource-... from $PATH at ..."), unless PULUMI_IGNORE_AMBIENT_PLUGINS
is set (sdk/go/common/workspace/plugins.go, getPluginInfoAndPath). So it does with the host of a language.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from polybus.provision.laptop.cloud import laptops

__all__ = ["write", "write_language_host", "write_launcher"]

_PACKAGE = "polybus.provision.laptop"


def write(folder: Path, module: Sequence[str] = ("-m", f"{_PACKAGE}.plugin")) -> Path:
    """Write an executable for each provider's package, which runs with this Python, and return the folder.

    `module` is what runs, with the package as its argument.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for _, laptop in laptops():
        write_launcher(folder / f"pulumi-resource-{laptop.package}", *module, laptop.package)
    return folder


def write_language_host(folder: Path) -> None:
    """Write our host of programs in Python, which is taken whether the CLI has Pulumi's own or not."""
    write_launcher(folder / "pulumi-language-python", "-m", f"{_PACKAGE}.language")


def write_launcher(launcher: Path, *arguments: str) -> None:
    """Write an executable that runs this Python, as a whole or not at all: an engine may be about to run it.

    The folder that it is run in is no part of what Python imports from.
    """
    command = shlex.join([sys.executable, "-P", *arguments])
    beside = launcher.with_name(f".{launcher.name}.{os.getpid()}")
    beside.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    beside.chmod(0o755)
    beside.replace(launcher)
