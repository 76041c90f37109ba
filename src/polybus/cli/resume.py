"""`polybus resume`: see `polybus.cli.ps`."""

from __future__ import annotations

from polybus.cli.ps import resume as command

__all__ = ["command"]
