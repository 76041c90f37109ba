"""Apps: handlers by decorator, run with a drain at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybus.app.application import App
from polybus.app.handler import Handler

if TYPE_CHECKING:
    from polybus.app.loading import load
    from polybus.app.running import run_apps
    from polybus.app.session import Session

__all__ = ["App", "Handler", "Session", "load", "run_apps"]

# What runs apps: who only declares handlers needs none of it.
_LATER = {"Session": "session", "load": "loading", "run_apps": "running"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'polybus.app' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"polybus.app.{_LATER[name]}"), name)
