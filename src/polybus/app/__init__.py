"""Apps: handlers by decorator, run with a drain at the end."""

from polybus.app.application import App
from polybus.app.handler import Handler
from polybus.app.loading import load
from polybus.app.running import run_apps
from polybus.app.session import Session

__all__ = ["App", "Handler", "Session", "load", "run_apps"]
