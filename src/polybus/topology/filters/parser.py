"""Text to filter. Every error says what was expected, what was found and where."""

from __future__ import annotations

import re
from dataclasses import dataclass

from polybus.errors import FilterError
from polybus.topology.filters.ast import And, Compare, Exists, In, Node, Not, Or, Prefix
from polybus.topology.filters.evaluate import Filter
from polybus.topology.limits import attribute_name_problem

__all__ = ["parse"]

MAX_DEPTH = 40
"""Nested parentheses and `not`s; far more than a person writes, far fewer than Python's stack holds."""

_TOKEN = re.compile(
    r"""\s+
    | (?P<string>"(?:[^"\\]|\\.)*" | '(?:[^'\\]|\\.)*')
    | (?P<name>[A-Za-z_][A-Za-z0-9_.-]*)
    | (?P<symbol>==|!=|[(),])""",
    re.VERBOSE | re.DOTALL,
)
_WORDS = frozenset(("and", "or", "not", "in"))
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|.)", re.DOTALL)
_ESCAPES = {"\\": "\\", '"': '"', "'": "'", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HINTS = {"=": "equality is written ==", "&": "conjunction is written and", "|": "alternatives are written or"}
_HINTS |= {
    "!": "negation is written not, inequality !=",
    '"': "the string is not closed",
    "'": "the string is not closed",
}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str  # string, name, symbol or end
    text: str
    position: int

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else self.text


def parse(text: str) -> Filter:
    """Parse an expression; raises FilterError, with the position of what is wrong."""
    parser = _Parser(text)
    root = parser.alternatives(0)
    parser.finish()
    return Filter(root, text)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            character = text[position]
            hint = _HINTS.get(character, "a filter has names, quoted strings, ==, !=, and, or, not, in, exists, prefix")
            raise FilterError(f"unexpected {character!r}: {hint}", text=text, position=position)
        if found.lastgroup is not None:
            tokens.append(_Token(found.lastgroup, found.group(), position))
        position = found.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


class _Parser:
    """Recursive descent, one method for each rule of the grammar."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _tokens(text)
        self._at = 0

    def alternatives(self, depth: int) -> Node:
        items = [self._conjunction(depth)]
        while self._take("name", "or"):
            items.append(self._conjunction(depth))
        return items[0] if len(items) == 1 else Or(tuple(items))

    def finish(self) -> None:
        if self._next.kind != "end":
            raise self._error(f"expected and, or, or the end, found {self._next}")

    def _conjunction(self, depth: int) -> Node:
        items = [self._negation(depth)]
        while self._take("name", "and"):
            items.append(self._negation(depth))
        return items[0] if len(items) == 1 else And(tuple(items))

    def _negation(self, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self._error(f"nested more than {MAX_DEPTH} deep")
        if self._take("name", "not"):
            return Not(self._negation(depth + 1))
        if self._take("symbol", "("):
            node = self.alternatives(depth + 1)
            self._expect(")")
            return node
        return self._test()

    def _test(self) -> Node:
        token = self._next
        if token.kind != "name" or token.text in _WORDS:
            raise self._error(f"expected an attribute, exists(...), prefix(...), not or (, found {token}")
        self._at += 1
        if token.text in ("exists", "prefix") and self._take("symbol", "("):
            return self._call(token.text)
        return self._comparison(self._checked(token))

    def _call(self, function: str) -> Node:
        token = self._next
        if token.kind != "name" or token.text in _WORDS:
            raise self._error(f"expected the name of an attribute, unquoted, found {token}")
        self._at += 1
        name = self._checked(token)
        if function == "exists":
            self._expect(")")
            return Exists(name)
        self._expect(",")
        prefix = self._string()
        self._expect(")")
        return Prefix(name, prefix)

    def _comparison(self, name: str) -> Node:
        if self._take("symbol", "=="):
            return Compare(name, self._string())
        if self._take("symbol", "!="):
            return Compare(name, self._string(), equal=False)
        inside = not self._take("name", "not")
        if self._take("name", "in"):
            return In(name, self._strings(), inside=inside)
        wanted = "==, !=, in or not in" if inside else "in"
        raise self._error(f"expected {wanted}, found {self._next}")

    def _strings(self) -> tuple[str, ...]:
        self._expect("(")
        values = [self._string()]
        while self._take("symbol", ",") and not (self._next.kind == "symbol" and self._next.text == ")"):
            values.append(self._string())
        self._expect(")")
        return tuple(values)

    def _string(self) -> str:
        token = self._next
        if token.kind != "string":
            raise self._error(f"expected a string in quotes, found {token}")
        self._at += 1
        return _ESCAPE.sub(lambda found: self._unescaped(found, token.position + 1), token.text[1:-1])

    def _unescaped(self, found: re.Match[str], start: int) -> str:
        code = found.group(1)
        if len(code) == 5 and not "d800" <= code[1:].lower() <= "dfff":
            return chr(int(code[1:], 16))
        if code in _ESCAPES:
            return _ESCAPES[code]
        allowed = r"\\ \" \' \b \f \n \r \t and \uXXXX of a character"
        raise FilterError(
            f"unknown escape \\{code}: allowed are {allowed}", text=self._text, position=start + found.start()
        )

    def _checked(self, token: _Token) -> str:
        problem = attribute_name_problem(token.text)
        if problem:
            raise FilterError(problem, text=self._text, position=token.position)
        return token.text

    @property
    def _next(self) -> _Token:
        return self._tokens[self._at]

    def _take(self, kind: str, text: str) -> bool:
        token = self._next
        taken = token.kind == kind and token.text == text
        self._at += taken
        return taken

    def _expect(self, symbol: str) -> None:
        if not self._take("symbol", symbol):
            raise self._error(f"expected {symbol}, found {self._next}")

    def _error(self, message: str) -> FilterError:
        return FilterError(message, text=self._text, position=self._next.position)
