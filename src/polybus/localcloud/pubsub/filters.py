"""Pub/Sub's filter language, over the attributes of a message.

    expression = term {"AND" term} | term {"OR" term}          AND and OR don't mix without parentheses
    term       = ["NOT" | "-"] ( "(" expression ")" | test )
    test       = "attributes" ":" key
               | "attributes" "." key ("=" | "!=") value
               | "hasPrefix" "(" "attributes" "." key "," value ")"

A key is a bare word or a quoted string, a value a quoted string. `!=` also passes a message without the attribute.
Source: https://cloud.google.com/pubsub/docs/subscription-message-filter
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.refusal import Refused, invalid

__all__ = ["Predicate", "parse_filter"]

Predicate = Callable[[Mapping[str, str]], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[A-Za-z_][A-Za-z0-9_\-]*)|(?P<sign>!=|[()=.,:\-]))""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|x[0-9A-Fa-f]{2}|.)", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "a": "\a", "v": "\v"}
_RESERVED = frozenset({"AND", "OR", "NOT"})


def parse_filter(text: str) -> Predicate:
    """Return what decides whether a message's attributes pass; refuse what is no filter or too long."""
    if len(text.encode()) > limits.FILTER_BYTES:
        raise invalid(
            f"Invalid filter expression: it is {len(text.encode())} bytes long, the maximum is {limits.FILTER_BYTES}."
        )
    return _Parser(text).parse()


def _unquote(text: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if len(code) > 1:
            return chr(min(int(code[1:], 16), 0x10FFFF))
        return _ESCAPES.get(code, code)

    return _ESCAPE.sub(replace, text[1:-1])


class _Parser:
    """Recursive descent over the tokens; `index` is the next one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.index = 0
        self.tokens: list[tuple[str, str, int]] = []
        position = 0
        while text[position:].strip():
            match = _TOKEN.match(text, position)
            if match is None:
                raise self._error("unexpected character", position)
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind], match.start(kind)))
            position = match.end()

    def parse(self) -> Predicate:
        predicate = self._expression()
        if self.index < len(self.tokens):
            raise self._unexpected("the end")
        return predicate

    def _error(self, problem: str, position: int) -> Refused:
        return invalid(f"Invalid filter expression: {problem} at position {position} of {self.text!r}.")

    def _unexpected(self, wanted: str) -> Refused:
        if self.index < len(self.tokens):
            _, found, position = self.tokens[self.index]
            return self._error(f"found {found!r} where {wanted} was expected", position)
        return self._error(f"it ends where {wanted} was expected", len(self.text))

    def _peek(self) -> str | None:
        return self.tokens[self.index][1] if self.index < len(self.tokens) else None

    def _accept(self, *tokens: str) -> str | None:
        found = self._peek()
        if found is None or found not in tokens:
            return None
        self.index += 1
        return found

    def _expect(self, token: str) -> None:
        if self._accept(token) is None:
            raise self._unexpected(repr(token))

    def _expression(self) -> Predicate:
        terms = [self._term()]
        joined: str | None = None
        while (operator := self._peek()) in ("AND", "OR"):
            if joined not in (None, operator):
                position = self.tokens[self.index][2]
                raise self._error("AND and OR can't be mixed without parentheses", position)
            joined = operator
            self.index += 1
            terms.append(self._term())
        if joined is None:
            return terms[0]
        if joined == "AND":
            return lambda attributes: all(term(attributes) for term in terms)
        return lambda attributes: any(term(attributes) for term in terms)

    def _term(self) -> Predicate:
        if self._accept("NOT", "-"):
            negated = self._operand()
            return lambda attributes: not negated(attributes)
        return self._operand()

    def _operand(self) -> Predicate:
        if self._accept("("):
            inner = self._expression()
            self._expect(")")
            return inner
        if self._accept("hasPrefix"):
            return self._prefix()
        self._expect("attributes")
        if self._accept(":"):
            present = self._key()
            return lambda attributes: present in attributes
        self._expect(".")
        return self._comparison()

    def _prefix(self) -> Predicate:
        self._expect("(")
        self._expect("attributes")
        self._expect(".")
        key = self._key()
        self._expect(",")
        prefix = self._value()
        self._expect(")")
        return lambda attributes: key in attributes and attributes[key].startswith(prefix)

    def _comparison(self) -> Predicate:
        key = self._key()
        operator = self._accept("=", "!=")
        if operator is None:
            raise self._unexpected("'=' or '!='")
        value = self._value()
        if operator == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _key(self) -> str:
        if self.index < len(self.tokens):
            kind, found, _ = self.tokens[self.index]
            if kind == "text" or (kind == "word" and found not in _RESERVED):
                self.index += 1
                return _unquote(found) if kind == "text" else found
        raise self._unexpected("an attribute's key")

    def _value(self) -> str:
        if self.index < len(self.tokens) and self.tokens[self.index][0] == "text":
            self.index += 1
            return _unquote(self.tokens[self.index - 1][1])
        raise self._unexpected("a quoted string")
