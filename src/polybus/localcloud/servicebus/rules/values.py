"""What SQL operators do with values; None stands for unknown."""

from __future__ import annotations

import datetime
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from polybus.localcloud.servicebus.amqp.decode import Timestamp

__all__ = ["FilterError", "arithmetic", "both", "compare", "contains", "either", "like", "negate", "plain", "signed"]


def plain(value: Any) -> Any:
    """Return a parameter as messages hold it: a time as a timestamp."""
    return Timestamp(int(value.timestamp() * 1000)) if isinstance(value, datetime.datetime) else value


class FilterError(Exception):
    """A filter can't be evaluated for this message: types that don't go together, or division by zero."""


_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def compare(symbol: str, left: Any, right: Any) -> bool | None:
    """Compare as C# would: numbers with numbers, else only values of one type; raise FilterError."""
    if left is None or right is None:
        return None
    if not (_number(left) and _number(right)):
        if type(left) is not type(right):
            raise FilterError(f"a {type(left).__name__} can't be compared with a {type(right).__name__}")
        if symbol not in ("=", "<>", "!=") and not isinstance(left, str):
            raise FilterError(f"'{symbol}' is not defined for a {type(left).__name__}")
    return _COMPARISONS[symbol](left, right)


def arithmetic(symbol: str, left: Any, right: Any) -> Any:
    """Compute as C# would: whole numbers stay whole and divide towards zero; raise FilterError."""
    if left is None or right is None:
        return None
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    if not (_number(left) and _number(right)):
        raise FilterError(f"'{symbol}' needs two numbers")
    whole = isinstance(left, int) and isinstance(right, int)
    if symbol in "/%" and right == 0:
        if whole:
            raise FilterError("division by zero")
        return math.nan if symbol == "%" or left == 0 else math.copysign(math.inf, left)
    if symbol == "/":
        return _truncated(left, right) if whole else left / right
    if symbol == "%":
        return left - right * _truncated(left, right) if whole else math.fmod(left, right)
    return {"+": operator.add, "-": operator.sub, "*": operator.mul}[symbol](left, right)


def _truncated(left: int, right: int) -> int:
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def signed(symbol: str, value: Any) -> Any:
    if value is None:
        return None
    if not _number(value):
        raise FilterError(f"'{symbol}' needs a number")
    return -value if symbol == "-" else value


def both(left: bool | None, right: Callable[[], bool | None]) -> bool | None:
    if left is False:
        return False
    other = right()
    return False if other is False else (None if left is None or other is None else True)


def either(left: bool | None, right: Callable[[], bool | None]) -> bool | None:
    if left is True:
        return True
    other = right()
    return True if other is True else (None if left is None or other is None else False)


def negate(value: bool | None) -> bool | None:
    return None if value is None else not value


def contains(value: Any, options: list[Any]) -> bool | None:
    """IN: unknown where the value is, or where nothing equals it and an option is unknown."""
    if value is None:
        return None
    result: bool | None = False
    for option in options:
        found = compare("=", value, option)
        if found:
            return True
        if found is None:
            result = None
    return result


def like(value: Any, pattern: Any, escape: Any) -> bool | None:
    """Match with % for any characters and _ for one; raise FilterError where something is not text."""
    if value is None or pattern is None:
        return None
    if not isinstance(value, str) or not isinstance(pattern, str):
        raise FilterError("LIKE needs text")
    if escape is not None and (not isinstance(escape, str) or len(escape) != 1):
        raise FilterError("ESCAPE needs one character")
    return re.fullmatch(_regex(pattern, escape), value, re.DOTALL) is not None


def _regex(pattern: str, escape: str | None) -> str:
    out, at = [], 0
    while at < len(pattern):
        character = pattern[at]
        if character == escape:
            at += 1
            if at == len(pattern):
                raise FilterError("a pattern ends with its escape character")
            out.append(re.escape(pattern[at]))
        else:
            out.append({"%": ".*", "_": "."}.get(character) or re.escape(character))
        at += 1
    return "".join(out)
