"""The parser of SQL filters: text in, a function of a message's properties out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from polybus.localcloud.servicebus.rules import values
from polybus.localcloud.servicebus.rules.lexer import SyntaxRefusal, Token, tokens
from polybus.localcloud.servicebus.rules.properties import View, new_id

__all__ = ["Parser", "Term", "parse_filter"]

Evaluate = Callable[[View], Any]
LONGEST = 1024  # characters; Microsoft's "Service Bus quotas"
# Brackets and NOTs nested deeper than any text of that length needs in practice; bounds the parser's recursion.
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Property:
    scope: str  # "user" or "sys"
    name: str

    def read(self, view: View) -> Any:
        return view.user(self.name) if self.scope == "user" else view.system(self.name)

    def exists(self, view: View) -> bool:
        return view.has(self.name) if self.scope == "user" else view.system(self.name) is not None


@dataclass(frozen=True, slots=True)
class Term:
    """A part of an expression: a predicate is true, false or unknown; anything else is a value."""

    evaluate: Evaluate
    predicate: bool = False
    property: Property | None = None


class Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str, parameters: Mapping[str, object]) -> None:
        if len(text) > LONGEST:
            raise SyntaxRefusal(text[:40], 0, f"the text has {len(text)} characters, allowed are {LONGEST}; it begins")
        self._text = text
        self._parameters = {name.lstrip("@").lower(): value for name, value in parameters.items()}
        self._tokens = tokens(text)
        self._at = 0
        self._depth = 0

    # -- tokens

    @property
    def now(self) -> Token:
        return self._tokens[self._at]

    def fail(self, problem: str) -> SyntaxRefusal:
        return SyntaxRefusal(self._text, self.now.at, problem)

    def take(self, kind: str, *allowed: str) -> Token | None:
        token = self.now
        if token.kind == kind and (not allowed or token.value in allowed):
            self._at += 1
            return token
        return None

    def need(self, kind: str, value: str) -> None:
        if self.take(kind, value) is None:
            raise self.fail(f"'{value}' expected")

    def end(self) -> None:
        if self.now.kind != "end":
            raise self.fail(f"unexpected '{self.now.value}'")

    # -- predicates

    def predicate(self) -> Term:
        return self._as_predicate(self._or())

    def _as_predicate(self, term: Term) -> Term:
        if not term.predicate:
            raise self.fail("a condition expected before this")
        return term

    def _as_value(self, term: Term) -> Term:
        if term.predicate:
            raise self.fail("a value expected before this")
        return term

    def _or(self) -> Term:
        left = self._and()
        while self.take("keyword", "or"):
            first, second = self._as_predicate(left).evaluate, self._as_predicate(self._and()).evaluate
            left = Term(_combine(values.either, first, second), predicate=True)
        return left

    def _and(self) -> Term:
        left = self._not()
        while self.take("keyword", "and"):
            first, second = self._as_predicate(left).evaluate, self._as_predicate(self._not()).evaluate
            left = Term(_combine(values.both, first, second), predicate=True)
        return left

    def _not(self) -> Term:
        if not self.take("keyword", "not"):
            return self._comparison()
        self._deeper()
        inner = self._as_predicate(self._not()).evaluate
        self._depth -= 1
        return Term(lambda view: values.negate(inner(view)), predicate=True)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self.fail("nested too deeply")

    def _comparison(self) -> Term:
        left = self.value_or_predicate()
        symbol = self.take("operator", "=", "<>", "!=", "<", "<=", ">", ">=")
        if symbol is not None:
            first, second = self._as_value(left).evaluate, self._as_value(self.value_or_predicate()).evaluate
            sign = str(symbol.value)
            return Term(lambda view: values.compare(sign, first(view), second(view)), predicate=True)
        if self.take("keyword", "is"):
            return self._is_null(left)
        negated = self.take("keyword", "not") is not None
        if self.take("keyword", "in"):
            found = self._in(self._as_value(left))
        elif self.take("keyword", "like"):
            found = self._like(self._as_value(left))
        elif negated:
            raise self.fail("IN or LIKE expected")
        else:
            return left
        if negated:
            inner = found.evaluate
            return Term(lambda view: values.negate(inner(view)), predicate=True)
        return found

    def _is_null(self, left: Term) -> Term:
        negated = self.take("keyword", "not") is not None
        self.need("keyword", "null")
        found = left.property
        if found is None:
            raise self.fail("IS NULL needs a property")
        return Term(lambda view: (found.read(view) is None) != negated, predicate=True)

    def _in(self, left: Term) -> Term:
        self.need("operator", "(")
        options = [self._as_value(self.value_or_predicate()).evaluate]
        while self.take("operator", ","):
            options.append(self._as_value(self.value_or_predicate()).evaluate)
        self.need("operator", ")")
        first = left.evaluate
        return Term(lambda view: values.contains(first(view), [o(view) for o in options]), predicate=True)

    def _like(self, left: Term) -> Term:
        first, pattern = left.evaluate, self._as_value(self.value_or_predicate()).evaluate
        escape: Evaluate = lambda view: None  # noqa: E731 - one of two equal shapes
        if self.take("keyword", "escape"):
            escape = self._as_value(self.value_or_predicate()).evaluate
        return Term(lambda view: values.like(first(view), pattern(view), escape(view)), predicate=True)

    # -- values

    def value_or_predicate(self) -> Term:
        left = self._product()
        while (symbol := self.take("operator", "+", "-")) is not None:
            left = self._arithmetic(symbol, left, self._product())
        return left

    def _product(self) -> Term:
        left = self._unary()
        while (symbol := self.take("operator", "*", "/", "%")) is not None:
            left = self._arithmetic(symbol, left, self._unary())
        return left

    def _arithmetic(self, symbol: Token, left: Term, right: Term) -> Term:
        first, second, sign = self._as_value(left).evaluate, self._as_value(right).evaluate, str(symbol.value)
        return Term(lambda view: values.arithmetic(sign, first(view), second(view)))

    def _unary(self) -> Term:
        symbol = self.take("operator", "+", "-")
        if symbol is None:
            return self._primary()
        self._deeper()
        inner, sign = self._as_value(self._unary()).evaluate, str(symbol.value)
        self._depth -= 1
        return Term(lambda view: values.signed(sign, inner(view)))

    def _primary(self) -> Term:
        token = self.now
        if self.take("operator", "("):
            self._deeper()
            inner = self._or()
            self._depth -= 1
            self.need("operator", ")")
            return Term(inner.evaluate, inner.predicate)
        if self.take("keyword", "exists"):
            self.need("operator", "(")
            found = self.property_name()
            self.need("operator", ")")
            return Term(found.exists, predicate=True)
        if self.take("keyword", "true", "false", "null"):
            constant = {"true": True, "false": False, "null": None}[str(token.value)]
            return Term(lambda view: constant)
        if self.take("number") or self.take("string"):
            return Term(lambda view: token.value)
        if self.take("parameter"):
            return self._parameter(token)
        return self._named()

    def _parameter(self, token: Token) -> Term:
        name = str(token.value)[1:].lower()
        if name not in self._parameters:
            raise self.fail(f"the parameter {token.value} has no value; used")
        value = values.plain(self._parameters[name])
        return Term(lambda view: value)

    def _named(self) -> Term:
        following = self._tokens[min(self._at + 1, len(self._tokens) - 1)]
        if self.now.kind == "name" and following.value == "(" and following.kind == "operator":
            return self._function()
        found = self.property_name()
        return Term(found.read, property=found)

    def _function(self) -> Term:
        name = str(self.now.value).lower()
        self._at += 2
        if name == "newid":
            self.need("operator", ")")
            return Term(lambda view: new_id())
        if name in ("property", "p"):
            argument = self._as_value(self.value_or_predicate()).evaluate
            self.need("operator", ")")
            return Term(lambda view: view.user(str(argument(view))))
        raise self.fail(f"the function '{name}' is unknown; used before this")

    def property_name(self) -> Property:
        token = self.take("name")
        if token is None:
            raise self.fail("a property expected")
        if not self.take("operator", "."):
            return Property("user", str(token.value))
        scope = str(token.value).lower()
        if scope not in ("sys", "user"):
            raise self.fail(f"the scope '{token.value}' is neither sys nor user; used before this")
        name = self.take("name") or self.take("keyword")
        if name is None:
            raise self.fail("a property's name expected")
        return Property(scope, str(name.value))


def _combine(
    join: Callable[[bool | None, Callable[[], bool | None]], bool | None], first: Evaluate, second: Evaluate
) -> Evaluate:
    return lambda view: join(first(view), lambda: second(view))


def parse_filter(text: str, parameters: Mapping[str, object]) -> Callable[[View], bool | None]:
    """Return the condition that `text` is; raise SyntaxRefusal."""
    parser = Parser(text, parameters)
    term = parser.predicate()
    parser.end()
    return term.evaluate
