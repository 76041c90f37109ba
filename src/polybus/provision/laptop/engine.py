"""Where Pulumi's CLI is: one that was built in a checkout around a project, or the one on PATH."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from polybus.errors import ConfigError

__all__ = ["find"]

_BUILT = Path(".engine", "pulumi")
"""Where `make engine` puts it, in the checkout's folder."""


def find(folder: Path) -> Path:
    """Return the CLI for a project in `folder`; raises ConfigError, with what brings one, where there is none."""
    for above in (folder, *folder.parents):
        built = above / _BUILT
        if os.access(built, os.X_OK):
            return built
    on_path = shutil.which("pulumi")
    if on_path is None:
        raise ConfigError(
            f"{folder}: a stack on this machine takes the pulumi CLI, which is neither on PATH nor in an "
            f"{_BUILT.parent} above: `curl -fsSL https://get.pulumi.com | sh` or `brew install pulumi` brings it, and "
            "`make engine` in a checkout of polybus builds it with Go"
        )
    return Path(on_path)
