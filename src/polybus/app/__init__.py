"""Apps: handlers by decorator, run with a drain at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polybus.app.application import App
from polybus.app.handler import Handler
from polybus.lazy import imported_at_first_use

if TYPE_CHECKING:
    from polybus.app.loading import load
    from polybus.app.running import run_apps
    from polybus.app.session import Session

__all__ = ["App", "Handler", "Session", "load", "run_apps"]

# What runs apps: who only declares handlers needs none of it.
__getattr__ = imported_at_first_use("polybus.app", {"Session": "session", "load": "loading", "run_apps": "running"})
