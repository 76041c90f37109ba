"""One table of `polybus.toml`, read key by key; problems are collected, so that all are told at once."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from polybus.topology.open import HOW, opened
from polybus.topology.quantities import format_duration, format_size, parse_duration, parse_size

__all__ = ["Problems", "Table", "nearest"]

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_SHOWN = 80


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Find the known name that a wrong one was probably meant to be."""
    by_lower = {item.lower(): item for item in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return by_lower[found[0]] if found else None


class Problems:
    """What is wrong in one source, one line each."""

    def __init__(self, source: str) -> None:
        self._source = source
        self.lines: list[str] = []

    def add(self, path: str, found: str, allowed: str) -> None:
        """Note that at `path` something was `found` where only `allowed` is."""
        self.lines.append(f"{self._source}: at {path}: found {found}; allowed: {allowed}")


def shown(value: object) -> str:
    """Write a TOML value for an error, on one line."""
    if isinstance(value, Mapping):
        return "a table"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


class Table:
    """Reads values of one table by key. A wrong one is noted in `problems`, and its default given back.

    Call `close` after the last read: every key that was not read by then is an unknown one.
    """

    def __init__(self, values: Mapping[str, Any], path: str, problems: Problems) -> None:
        self.path = path
        self.problems = problems
        self._values = values
        self._read: list[str] = []

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def at(self, key: str) -> str:
        """Give the path of a key, quoted where TOML needs it."""
        return f"{self.path}.{key if _BARE_KEY.fullmatch(key) else json.dumps(key)}"

    def refuse(self, key: str, allowed: str) -> None:
        """Note that the value of a key is not what is allowed."""
        self.problems.add(self.at(key), shown(self._values[key]) if key in self._values else "nothing", allowed)

    def value(self, key: str, default: T, read: Callable[[Any], T | None], allowed: str) -> T:
        """Give what `read` makes of a key's value; where it makes None of it, the value is refused."""
        self._read.append(key)
        if key not in self._values:
            return default
        result = read(self._values[key])
        if result is None:
            self.refuse(key, allowed)
            return default
        return result

    def text(self, key: str, default: str | None = None, *, allowed: str = "a string") -> str | None:
        return self.value(key, default, lambda value: value if isinstance(value, str) and value else None, allowed)

    def open_text(self, key: str, *, allowed: str) -> str | None:
        """Give a string, or what is left open for a stack to fill in."""

        def read(value: object) -> str | None:
            return value if isinstance(value, str) and value else opened(value)

        return self.value(key, None, read, f"{allowed}; or {HOW}")

    def required(self, key: str, allowed: str) -> str:
        """Give a string that must be there; "" after noting that it isn't."""
        if key not in self._values:
            self._read.append(key)
            self.refuse(key, allowed)
            return ""
        return self.text(key, allowed=allowed) or ""

    def flag(self, key: str, default: bool = False) -> bool:
        return self.value(key, default, lambda value: value if isinstance(value, bool) else None, "true or false")

    def optional_flag(self, key: str) -> bool | None:
        return self.flag(key) if key in self._values else self.value(key, None, lambda _: None, "true or false")

    def is_off(self, key: str) -> bool:
        """Tell whether a key that takes something else is `false`."""
        off = self._values.get(key) is False
        if off:
            self._read.append(key)
        return off

    def integer(self, key: str, default: int, least: int, most: int) -> int:
        def read(value: object) -> int | None:
            good = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            return int(str(value)) if good else None

        return self.value(key, default, read, f"a whole number from {least} to {most}")

    def duration(self, key: str, default: float, least: float, most: float) -> float:
        def read(value: object) -> float | None:
            seconds = parse_duration(value) if isinstance(value, str) else None
            return seconds if seconds is not None and least <= seconds <= most else None

        bounds = f"from {format_duration(least)} to {format_duration(most)}"
        return self.value(key, default, read, f'a duration such as "500ms", "30s", "5m", "1h30m", "7d", {bounds}')

    def size(self, key: str, least: int, most: int) -> int | None:
        def read(value: object) -> int | None:
            size = parse_size(value) if isinstance(value, str) else None
            return size if size is not None and least <= size <= most else None

        bounds = f"from {format_size(least)} to {format_size(most)}"
        return self.value(key, None, read, f'a size such as "900B", "256KiB", "1MB", {bounds}')

    def strings(self, key: str) -> tuple[str, ...]:
        def read(value: object) -> tuple[str, ...] | None:
            good = isinstance(value, list) and all(isinstance(item, str) for item in value)
            return tuple(dict.fromkeys(value)) if good and isinstance(value, list) else None

        return self.value(key, (), read, 'a list of names, such as ["orders"]')

    def some_of(self, key: str, known: Sequence[str]) -> tuple[str, ...]:
        """Give one or more of some names; none where there is no such key."""

        def read(value: object) -> tuple[str, ...] | None:
            good = isinstance(value, list) and value and all(item in known for item in value)
            return tuple(dict.fromkeys(value)) if good and isinstance(value, list) else None

        return self.value(key, (), read, f"a list of one or more of {', '.join(known)}")

    def one_of(self, key: str, default: str, known: Sequence[str], allowed: str) -> str:
        """Give one of some words."""
        return self.value(
            key, default, lambda value: value if isinstance(value, str) and value in known else None, allowed
        )

    def texts(self, key: str) -> tuple[str, ...]:
        """Give one text, or a list of them, as a tuple."""

        def read(value: object) -> tuple[str, ...] | None:
            several: list[Any] = value if isinstance(value, list) else [value]
            return tuple(several) if several and all(isinstance(item, str) and item for item in several) else None

        return self.value(key, (), read, "a text, or a list of texts")

    def table(self, key: str, *, allowed: str = "a table") -> Table:
        """Give the table under a key; an empty one where there is none."""
        nothing: dict[str, Any] = {}
        return Table(self.value(key, nothing, _mapping, allowed), self.at(key), self.problems)

    def tables(self) -> Iterator[tuple[str, Table]]:
        """Give every key's table."""
        for key in self._values:
            yield key, self.table(key)

    def rows(self, key: str) -> list[Table]:
        """Give the tables of an array of tables; none where there is no such key."""
        found = self.value(key, list[Any](), _mappings, "an array of tables, as [[...]] writes it")
        return [Table(row, f"{self.at(key)}[{number}]", self.problems) for number, row in enumerate(found)]

    def plain(self) -> dict[str, Any]:
        """Give all of it as it stands: what is passed through."""
        self._read.extend(self._values)
        return dict(self._values)

    def close(self) -> None:
        """Note every key that wasn't read, with the nearest that could have been meant."""
        known = dict.fromkeys(self._read)
        for key in self._values:
            if key not in known:
                near = nearest(key, known)
                hint = f" (nearest: {near})" if near else ""
                self.problems.add(self.at(key), f"unknown key {key}{hint}", ", ".join(sorted(known)) or "no keys")


def _mappings(value: object) -> list[dict[str, Any]] | None:
    return value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else None


def _mapping(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None
