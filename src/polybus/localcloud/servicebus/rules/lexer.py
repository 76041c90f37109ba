"""Tokens of SQL filters and actions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from polybus.localcloud.servicebus.refusal import ARGUMENT_ERROR, Refusal

__all__ = ["KEYWORDS", "SyntaxRefusal", "Token", "tokens"]

KEYWORDS = {
    "and", "or", "not", "like", "escape", "in", "is", "null", "exists", "true", "false", "set", "remove",
}  # fmt: skip

_PATTERN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<number>(?:\d+\.\d*|\.\d+)(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+)
  | (?P<integer>\d+)
  | (?P<string>'(?:[^']|'')*')
  | (?P<quoted>"(?:[^"]|"")*")
  | (?P<bracketed>\[(?:[^\]]|\]\])*\])
  | (?P<parameter>@[A-Za-z_][A-Za-z0-9_]*)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<operator><>|!=|<=|>=|[=<>+\-*/%(),.;])
    """,
    re.VERBOSE,
)


class SyntaxRefusal(Refusal):
    """A filter or action is not SQL as Service Bus defines it; says where."""

    def __init__(self, text: str, at: int, problem: str) -> None:
        super().__init__(ARGUMENT_ERROR, f"{problem} at character {at + 1} of '{text}'.")


@dataclass(frozen=True, slots=True)
class Token:
    kind: str  # number, string, name, parameter, keyword, operator, end
    value: str | int | float
    at: int


def tokens(text: str) -> list[Token]:
    """Return the tokens of `text` with one of kind `end` behind them; raise SyntaxRefusal."""
    out: list[Token] = []
    at = 0
    while at < len(text):
        match = _PATTERN.match(text, at)
        if match is None:
            raise SyntaxRefusal(text, at, f"unexpected '{text[at]}'")
        found, kind = match.group(), match.lastgroup
        if kind == "number":
            out.append(Token("number", float(found), at))
        elif kind == "integer":
            out.append(Token("number", int(found), at))
        elif kind == "string":
            out.append(Token("string", found[1:-1].replace("''", "'"), at))
        elif kind == "quoted":
            out.append(Token("name", found[1:-1].replace('""', '"'), at))
        elif kind == "bracketed":
            out.append(Token("name", found[1:-1].replace("]]", "]"), at))
        elif kind == "parameter":
            out.append(Token("parameter", found, at))
        elif kind == "name":
            word = found.lower()
            out.append(Token("keyword", word, at) if word in KEYWORDS else Token("name", found, at))
        elif kind == "operator":
            out.append(Token("operator", found, at))
        at = match.end()
    out.append(Token("end", "", at))
    return out
