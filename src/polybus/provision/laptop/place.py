"""A folder that has all that Pulumi's CLI keeps of the stacks on one local cloud, apart from what is the user's own."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from polybus.provision.laptop import launchers

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """What is below `root`: the CLI with its plugins, its home, a backend of files, and a folder for each stack."""

    root: Path

    def prepare(self, cli: Path) -> None:
        """Make what isn't there, and lead to the CLI and the plugins of this Python."""
        for folder in (self.programs, self.root / "home", self.root / "backend", self.root / "stacks"):
            folder.mkdir(parents=True, exist_ok=True)
        launchers.write(self.programs)
        launchers.write_language_host(self.programs)
        beside = self.programs / f".pulumi.{os.getpid()}"
        beside.unlink(missing_ok=True)
        beside.symlink_to(cli.resolve())
        beside.replace(self.programs / "pulumi")
        drawn = self.root / f".passphrase.{os.getpid()}"
        drawn.touch(mode=0o600)
        drawn.write_text(secrets.token_urlsafe(18))
        with suppress(FileExistsError):  # of a stack that is made at the same time, or of a state that was kept
            os.link(drawn, self._passphrase)
        drawn.unlink()

    @property
    def programs(self) -> Path:
        """The folder of the CLI and its plugins; its name is the one that Pulumi's Automation API looks for."""
        return self.root / "bin"

    @property
    def stacks(self) -> tuple[str, ...]:
        """The stacks that there are, by name."""
        folder = self.root / "stacks"
        return tuple(sorted(path.name for path in folder.iterdir())) if folder.is_dir() else ()

    def folder(self, stack: str) -> Path:
        """Return the folder of a stack's project as the CLI sees it."""
        return self.root / "stacks" / stack

    def environment(self, server: Mapping[str, str]) -> dict[str, str]:
        """Return the variables by which the CLI uses this place and nothing else, on the server that `server` names.

        They keep it from the user's own backend, login and plugins, and from downloading any.
        """
        return {
            **server,
            "PULUMI_HOME": str(self.root / "home"),
            "PULUMI_BACKEND_URL": (self.root / "backend").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": self._passphrase.read_text(),
            "PULUMI_ACCESS_TOKEN": "",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "false",
            "PULUMI_DEBUG_PROVIDERS": "",
            "PATH": os.pathsep.join((str(self.programs), os.environ.get("PATH", os.defpath))),
        }

    @property
    def _passphrase(self) -> Path:
        return self.root / "passphrase"
