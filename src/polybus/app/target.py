"""What a child process has to import to run a handler."""

from __future__ import annotations

import logging
import sys
from types import FunctionType
from typing import Any

from polybus.app.frames import Setup
from polybus.app.handler import Handler
from polybus.app.signature import describe
from polybus.errors import ConfigError

__all__ = ["refuse_unimportable", "setup_of"]

_WAY_OUT = "executor='process' needs a `def` or `async def` of a module, since another process imports it from there"


def refuse_unimportable(function: Any) -> None:
    """Raise ConfigError for a function that no other process could import, by what can be known at its decoration."""
    name, place = describe(function)
    what = f"handler {name} ({place})"
    if not isinstance(function, FunctionType):
        raise ConfigError(f"{what} is a {type(function).__name__}, not a function of a module; {_WAY_OUT}")
    if "<" in function.__qualname__:
        kind = "a lambda" if function.__name__ == "<lambda>" else "declared within a function"
        raise ConfigError(f"{what} is {kind}; {_WAY_OUT}")
    if function.__module__ == "__main__" and _program() is None:
        raise ConfigError(f"{what} is in a program that has no file; {_WAY_OUT}")


def setup_of(handler: Handler) -> Setup:
    """Return what a child is told first; raise ConfigError where the name stands for something else by now."""
    function: Any = handler.function
    found: Any = sys.modules.get(function.__module__)
    for part in function.__qualname__.split("."):
        found = getattr(found, part, None)
    if found is not function:
        what = f"handler {handler.name} ({handler.signature.place})"
        raise ConfigError(
            f"{what}: {function.__qualname__!r} of module {function.__module__!r} is not it, but {found!r}: give each "
            f"function its own name, and decorate it with @app.handler last; {_WAY_OUT}"
        )
    module, file = function.__module__, None
    if module == "__main__":
        module, file = _program() or (module, None)
    named = {
        name: logger.level
        for name, logger in logging.Logger.manager.loggerDict.items()
        if isinstance(logger, logging.Logger) and logger.level != logging.NOTSET
    }
    return Setup(module, file, function.__qualname__, logging.getLogger().level, named)


def _program() -> tuple[str, str | None] | None:
    """Return the module, or else the file, that this program was started as."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name), None
    file = getattr(main, "__file__", None)
    return None if file is None else ("__main__", str(file))
