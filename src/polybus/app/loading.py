"""Finding an app by `module:name`."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from pathlib import Path
from types import ModuleType

from polybus.app.application import App
from polybus.errors import ConfigError, PolybusError

__all__ = ["load"]


def load(spec: str) -> App:
    """Import the module of `module:name`, as from the working directory, and return its app.

    `name` may be dotted. Raises ConfigError that says what is not there, what the module has instead, or what went
    wrong, and where, while it was imported.
    """
    module_name, colon, name = spec.partition(":")
    if not colon or not module_name or not name:
        raise ConfigError(f"{spec!r}: name an app as module:name, such as shop.billing:app")
    module = _import(module_name, spec)
    found: object = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{spec!r}: {module_name} has no {name!r}; {_instead(module, name)}")
        found = getattr(found, part)
    if not isinstance(found, App):
        raise ConfigError(f"{spec!r}: is a {type(found).__name__}, not a polybus.App; {_instead(module, name)}")
    return found


def _import(name: str, spec: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except PolybusError:
        raise  # says itself what is wrong with a handler or a declaration
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise ConfigError(f"{spec!r}: there is no module {error.name!r} in {here} or on Python's path") from None
        raise _import_failed(spec, error) from error
    except Exception as error:
        raise _import_failed(spec, error) from error


def _import_failed(spec: str, error: Exception) -> ConfigError:
    if isinstance(error, SyntaxError):
        place = f"{error.filename}:{error.lineno}"
    else:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{frame.filename}:{frame.lineno}"
    return ConfigError(f"{spec!r}: importing it failed at {place}: {type(error).__name__}: {error}")


def _instead(module: ModuleType, name: str) -> str:
    apps = [key for key, value in vars(module).items() if isinstance(value, App)]
    if apps:
        return f"its apps are: {', '.join(apps)}"
    near = difflib.get_close_matches(name, vars(module), 1)
    return f"did you mean {near[0]!r}?" if near else "it has no app: write app = polybus.App()"
