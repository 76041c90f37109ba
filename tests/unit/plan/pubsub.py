"""Pub/Sub's filter language as its documentation says: a referee for the compiler."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

_TOKEN = re.compile(r'\s+|(?P<string>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z0-9_-]+)|(?P<symbol>!=|[=().:,])')


def passes(text: str, attributes: Mapping[str, str]) -> bool:
    """Tell whether a message passes."""
    reader = _Reader(text, attributes)
    result = reader.expression()
    assert reader.at == len(reader.tokens), reader.tokens[reader.at :]
    return result


class _Reader:
    def __init__(self, text: str, attributes: Mapping[str, str]) -> None:
        self.tokens: list[str] = []
        self.at = 0
        self._attributes = attributes
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            assert match, text[at:]
            if match.lastgroup:
                self.tokens.append(match.group())
            at = match.end()

    def expression(self) -> bool:
        result = self._term()
        joined = self._peek()
        while self._peek() in ("AND", "OR"):
            assert self._peek() == joined, "AND and OR side by side need parentheses"
            self.at += 1
            other = self._term()
            result = (result and other) if joined == "AND" else (result or other)
        return result

    def _term(self) -> bool:
        if self._take("NOT"):
            return not self._term()
        if self._take("("):
            result = self.expression()
            assert self._take(")")
            return result
        if self._take("hasPrefix"):
            assert self._take("(")
            assert self._take("attributes")
            assert self._take(".")
            key = self._key()
            assert self._take(",")
            prefix = self._string()
            assert self._take(")")
            return self._attributes.get(key, "").startswith(prefix) if key in self._attributes else False
        assert self._take("attributes")
        if self._take(":"):
            return self._key() in self._attributes
        assert self._take(".")
        key = self._key()
        assert self._take("=")
        return self._attributes.get(key) == self._string()

    def _peek(self) -> str | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _take(self, text: str) -> bool:
        taken = self._peek() == text
        self.at += taken
        return taken

    def _string(self) -> str:
        token = self._peek() or ""
        assert token.startswith('"'), token
        self.at += 1
        return str(json.loads(token))

    def _key(self) -> str:
        token = self._peek() or ""
        if token.startswith('"'):
            return self._string()
        self.at += 1
        return token
