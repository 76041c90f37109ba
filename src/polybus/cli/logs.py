"""The log of `polybus run`: the app's own where it has one, else ours."""

from __future__ import annotations

import logging
import logging.config
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from polybus.errors import ConfigError
from polybus.registry import libraries

__all__ = ["Format", "Level", "Logs", "quiet_libraries"]


class Level(StrEnum):
    """The least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class Format(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class Logs:
    """Sets logging up, around the import of the apps: what was asked for before it, what nobody did after it.

    `level` and `format` are None where they weren't asked for. A `config` is the standard library's own, as JSON, TOML
    or an INI file, and all that counts beside it is `level`. With `everything` the clouds' libraries say all they have.
    """

    def __init__(
        self, *, level: Level | None, format: Format | None, config: Path | None, everything: bool = False
    ) -> None:
        self._level = level
        self._format = format
        self._config = config
        self._everything = everything

    @property
    def json(self) -> bool:
        """Whether each line on stderr is to be JSON."""
        return self._format is Format.JSON

    def before(self) -> None:
        """Do what was asked for; raises ConfigError for a file that can't be used."""
        if self._config is not None:
            _configure(self._config)
        elif self._format is not None:
            self._install()

    def after(self) -> None:
        """Do what neither the command line nor an app has done."""
        root = logging.getLogger()
        if not root.handlers and self._config is None:
            self._install()
        elif self._level is not None:
            root.setLevel(self._level.upper())
        if not self._everything and self._config is None:
            quiet_libraries(logging.WARNING)

    def _install(self) -> None:
        from polybus.app.logs import JsonFormatter, TextFormatter

        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if self.json else TextFormatter())
        root = logging.getLogger()
        root.addHandler(handler)
        root.setLevel((self._level or Level.INFO).upper())


def quiet_libraries(level: int) -> None:
    """Have the clouds' libraries log from `level` up, except where their level was set.

    At INFO some write thirty lines for each connection, and at DEBUG whole requests with the bodies in them.
    """
    for name in libraries():
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(level)


def _configure(path: Path) -> None:
    try:
        if path.suffix in (".json", ".toml"):
            logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, **_read(path)})
        else:
            with path.open(encoding="utf-8") as stream:
                logging.config.fileConfig(stream, disable_existing_loggers=False)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}; --log-config names it") from None
    except Exception as error:  # noqa: BLE001 - whatever the classes raise that the file names
        causes = [error, error.__cause__] if error.__cause__ is not None else [error]
        why = ": ".join(str(cause) or type(cause).__name__ for cause in causes)
        raise ConfigError(f"{path}: no configuration of logging: {why}") from None


def _read(path: Path) -> Mapping[str, Any]:
    import json
    import tomllib

    text = path.read_text(encoding="utf-8")
    found = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"found {type(found).__name__}, expected an object, as logging.config.dictConfig takes it")
    return found
