"""`polybus pause`: see `polybus.cli.ps`."""

from __future__ import annotations

from polybus.cli.ps import pause as command

__all__ = ["command"]
