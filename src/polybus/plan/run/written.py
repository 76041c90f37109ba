"""Documents as YAML: block style, and whatever could be read as something else than text in quotes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

__all__ = ["stream", "yaml"]

# A plain text that YAML 1.1 and 1.2 both read as the text that it is; whatever else is in quotes.
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@-]*(?::[A-Za-z0-9_./@-]+)*")
_NOT_TEXT = re.compile(r"(?:y|n|yes|no|on|off|true|false|null|nan|inf)", re.IGNORECASE)


def stream(documents: Iterable[Any]) -> str:
    """Write several documents, one after another."""
    return "---\n".join(yaml(document) for document in documents)


def yaml(value: Any) -> str:
    """Write a document."""
    return "".join(f"{line}\n" for line in _block(value))


def _block(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        yield from _table(value)
    elif isinstance(value, (list, tuple)) and value:
        yield from _items(value)
    else:
        yield _flow(value)


def _table(value: Mapping[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        name = _text(str(key))
        if isinstance(item, Mapping) and item:
            yield f"{name}:"
            yield from (f"  {line}" for line in _block(item))
        elif isinstance(item, (list, tuple)) and item:
            yield f"{name}:"
            yield from _items(item)
        else:
            yield f"{name}: {_flow(item)}"


def _items(value: Iterable[Any]) -> Iterator[str]:
    for item in value:
        first, *more = _block(item)
        yield f"- {first}"
        yield from (f"  {line}" for line in more)


def _flow(value: Any) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    return json.dumps(value)


def _text(value: str) -> str:
    plain = _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value)
    return value if plain else json.dumps(value, ensure_ascii=False)
