"""`polybus concurrency`: see `polybus.cli.ps`."""

from __future__ import annotations

from polybus.cli.ps import concurrency as command

__all__ = ["command"]
