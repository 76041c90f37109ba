"""Which keys polybus.toml has, learnt from the reader itself: it reads a table that says yes to everything.

So there is no second list of keys to keep: what the reader of `polybus.topology.file` asks for is what there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

from polybus.topology.file import topology_of
from polybus.topology.table import Problems, Table

__all__ = ["ANY_NAME", "Form", "Key", "keys"]

T = TypeVar("T")

ANY_NAME = "*"
"""Stands in a path for a name that is the declaration's own: of a topic, a queue, a service."""

# What the reader is given for a text that has to be there: a good name, whatever it is the name of.
_SOME_NAME = "name"


class Form(StrEnum):
    """What may stand at a key."""

    TEXT = "text"
    OPEN = "text, or what a stack fills in"
    FLAG = "true or false"
    INTEGER = "whole number"
    DURATION = "duration"
    SIZE = "size"
    NAMES = "list of texts"
    TEXTS = "text or list of texts"
    TABLE = "table"
    TABLES = "array of tables"
    FREE = "table of the provider's arguments"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Key:
    """One key: where it may stand, and what the reader takes there.

    `path` has ANY_NAME for names of the declaration's own. `allowed` is what an error says is allowed. `least` and
    `most` are seconds, bytes or a count, None where the form has no bounds; so is `default`, None where there is none.
    `off` says that `false` may stand there too, for none; `choices` are the only words that may, where they are few.
    """

    path: tuple[str, ...]
    form: Form
    allowed: str = ""
    required: bool = False
    default: object = None
    least: float | None = None
    most: float | None = None
    off: bool = False
    choices: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.path[-1]


def keys() -> tuple[Key, ...]:
    """List every key, in the order in which they are read; a table comes before what is in it.

    Clouds that installed packages register have their tables too.
    """
    found: dict[tuple[str, ...], Key] = {}
    topology_of(_Asked((), found), source="")
    return tuple(found.values())


class _Asked(Table):
    """A table that has every key, and notes which ones are asked for."""

    def __init__(self, path: tuple[str, ...], found: dict[tuple[str, ...], Key]) -> None:
        super().__init__({}, ".".join(("$", *path)), Problems(""))
        self._place = path
        self._found = found

    def __contains__(self, key: str) -> bool:
        return True

    def __iter__(self) -> Iterator[str]:
        yield ANY_NAME

    def _note(self, key: str, form: Form, **more: Any) -> None:
        path = (*self._place, key)
        found = Key(path, form, **more)
        if (before := self._found.get(path)) is not None and before.off:
            found = replace(found, off=True)
        self._found[path] = found

    def _bounded(self, key: str, form: Form, default: float, least: float, most: float) -> None:
        """Note a quantity; a default that couldn't be written stands for none."""
        self._note(key, form, default=default if least <= default <= most else None, least=least, most=most)

    def refuse(self, key: str, allowed: str) -> None:
        """Keep what the reader says of a key that isn't there: it is needed, and what is allowed."""
        path = (*self._place, key)
        if path in self._found:
            self._found[path] = replace(self._found[path], allowed=allowed, required=True)

    def value(self, key: str, default: T, read: Callable[[Any], T | None], allowed: str) -> T:
        self._note(key, Form.OTHER, allowed=allowed, default=default)
        return default

    def text(self, key: str, default: str | None = None, *, allowed: str = "a string") -> str | None:
        self._note(key, Form.TEXT, allowed=allowed, default=default)
        return default

    def open_text(self, key: str, *, allowed: str) -> str | None:
        self._note(key, Form.OPEN, allowed=allowed)
        return None

    def required(self, key: str, allowed: str) -> str:
        self._note(key, Form.TEXT, allowed=allowed, required=True)
        return _SOME_NAME

    def flag(self, key: str, default: bool = False) -> bool:
        self._note(key, Form.FLAG, allowed="true or false", default=default)
        return default

    def optional_flag(self, key: str) -> bool | None:
        self._note(key, Form.FLAG, allowed="true or false")
        return None

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        self._bounded(key, Form.INTEGER, default, least, most)
        return default

    def duration(self, key: str, default: float, least: float, most: float) -> float:
        self._bounded(key, Form.DURATION, default, least, most)
        return default

    def size(self, key: str, least: int, most: int) -> int | None:
        self._note(key, Form.SIZE, least=least, most=most)
        return None

    def strings(self, key: str) -> tuple[str, ...]:
        self._note(key, Form.NAMES)
        return ()

    def texts(self, key: str) -> tuple[str, ...]:
        self._note(key, Form.TEXTS)
        return ()

    def is_off(self, key: str) -> bool:
        self._note(key, Form.OTHER, off=True)
        return False

    def some_of(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        self._note(key, Form.NAMES, allowed=f"one or more of {', '.join(known)}", choices=tuple(known))
        return ()

    def one_of(self, key: str, default: str, known: Sequence[str], allowed: str) -> str:
        self._note(key, Form.TEXT, allowed=allowed, default=default, choices=tuple(known))
        return default

    def table(self, key: str, *, allowed: str = "a table") -> Table:
        self._note(key, Form.TABLE)
        return _Asked((*self._place, key), self._found)

    def tables(self) -> Iterator[tuple[str, Table]]:
        yield _SOME_NAME, self.table(ANY_NAME)

    def rows(self, key: str) -> list[Table]:
        self._note(key, Form.TABLES)
        return [_Asked((*self._place, key), self._found)]

    def plain(self) -> dict[str, Any]:
        self._found[self._place] = replace(self._found[self._place], form=Form.FREE)
        return {}
