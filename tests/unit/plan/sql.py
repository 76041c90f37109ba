"""Service Bus SQL as its documentation says, three-valued, as far as our filters use it: a referee for the compiler."""

from __future__ import annotations

import re
from collections.abc import Mapping

_TOKEN = re.compile(
    r"\s+|(?P<string>'(?:[^']|'')*')|(?P<quoted>\[[^\]]*\])|(?P<word>[A-Za-z_][A-Za-z0-9_]*)|(?P<symbol><>|[=(),])"
)
Truth = bool | None


def passes(sql: str, properties: Mapping[str, str]) -> bool:
    """Tell whether a message passes: only true counts, unknown doesn't."""
    reader = _Reader(sql, properties)
    result = reader.either()
    assert reader.at == len(reader.tokens), reader.tokens[reader.at :]
    return result is True


def _tokens(sql: str) -> list[tuple[str, str]]:
    found, at = [], 0
    while at < len(sql):
        match = _TOKEN.match(sql, at)
        assert match, sql[at:]
        if match.lastgroup:
            found.append((match.lastgroup, match.group()))
        at = match.end()
    return found


class _Reader:
    def __init__(self, sql: str, properties: Mapping[str, str]) -> None:
        self.tokens = _tokens(sql)
        self.at = 0
        self._properties = properties

    def either(self) -> Truth:
        result = self._both()
        while self._word("OR"):
            other = self._both()
            result = True if result is True or other is True else None if None in (result, other) else False
        return result

    def _both(self) -> Truth:
        result = self._negated()
        while self._word("AND"):
            other = self._negated()
            result = False if result is False or other is False else None if None in (result, other) else True
        return result

    def _negated(self) -> Truth:
        if self._word("NOT"):
            inner = self._negated()
            return None if inner is None else not inner
        if self._symbol("("):
            inner = self.either()
            assert self._symbol(")")
            return inner
        if self._word("EXISTS"):
            assert self._symbol("(")
            name = self._name()
            assert self._symbol(")")
            return name in self._properties
        return self._comparison(self._properties.get(self._name()))

    def _comparison(self, value: str | None) -> Truth:
        if self._symbol("="):
            other = self._string()
            return None if value is None else value == other
        if self._symbol("<>"):
            other = self._string()
            return None if value is None else value != other
        negated = self._word("NOT")
        result = self._in(value) if self._word("IN") else self._like(value)
        return None if result is None else result is not negated

    def _in(self, value: str | None) -> Truth:
        assert self._symbol("(")
        values = [self._string()]
        while self._symbol(","):
            values.append(self._string())
        assert self._symbol(")")
        return None if value is None else value in values

    def _like(self, value: str | None) -> Truth:
        assert self._word("LIKE")
        pattern = self._string()
        escape = self._string() if self._word("ESCAPE") else None
        parts, at = [], 0
        while at < len(pattern):
            character = pattern[at]
            if character == escape:
                at += 1
                parts.append(re.escape(pattern[at]))
            else:
                parts.append({"%": ".*", "_": "."}.get(character, re.escape(character)))
            at += 1
        return None if value is None else re.fullmatch("".join(parts), value, re.DOTALL) is not None

    def _take(self, kind: str, text: str | None = None) -> str | None:
        if self.at < len(self.tokens):
            found, value = self.tokens[self.at]
            if found == kind and (text is None or value.upper() == text):
                self.at += 1
                return value
        return None

    def _word(self, text: str) -> bool:
        return self._take("word", text) is not None

    def _symbol(self, text: str) -> bool:
        return self._take("symbol", text) is not None

    def _string(self) -> str:
        text = self._take("string")
        assert text is not None, self.tokens[self.at :]
        return text[1:-1].replace("''", "'")

    def _name(self) -> str:
        quoted = self._take("quoted")
        name = quoted[1:-1] if quoted else self._take("word")
        assert name is not None, self.tokens[self.at :]
        return name
