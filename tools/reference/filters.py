"""The page of the filter language: the grammar, what it says, and what examples of it pass, by asking them."""

from __future__ import annotations

import json
from collections.abc import Mapping

from polybus.topology.filters import parse
from polybus.topology.filters.grammar import GRAMMAR
from polybus.topology.filters.parser import MAX_DEPTH
from tools.reference.markdown import code, table

__all__ = ["page"]

_HEAD = f"""\
# The filter language

`filter = '...'` of a subscription says which messages it gets, by their attributes. Each cloud's own filter is compiled
from it and means the same; the consumer filters nothing. A filter that a cloud can't express is refused by
`polybus check`, with the place and the way out.

```toml
[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk") and not exists(test)'
```

## Grammar

```ebnf
{GRAMMAR}```

- `name` is an attribute's name, without quotes: 1 to 128 of `A-Z a-z 0-9 _ . -`, a letter or `_` first. The words
  `and`, `or`, `not` and `in` are none.
- `string` stands in double or single quotes, with the escapes of JSON. Values are texts: `total == "100"` compares
  letters, and there is no greater or less.
- `not` binds closest, then `and`, then `or`. Case counts everywhere. Spaces and line breaks between words mean nothing.
- At most {MAX_DEPTH} parentheses and `not`s may be inside of one another.

## What each test means

"""

_ABSENT = """\

Every test of an attribute that isn't there is false, and there is no third truth value. So `not (a == "x")` passes a
message without `a`, and `a != "x"` doesn't.

## What passes

What these filters say of five messages, as polybus itself decides it:

"""

_TESTS: Mapping[str, str] = {
    'name == "v"': "The attribute is there and is `v`.",
    'name != "v"': "The attribute is there and is not `v`.",
    'name in ("v", "w")': "The attribute is there and is one of these.",
    'name not in ("v", "w")': "The attribute is there and is none of these.",
    'prefix(name, "v")': 'The attribute is there and begins with `v`; every one begins with `""`.',
    "exists(name)": "The attribute is there, whatever its value.",
    "not exists(name)": "The opposite of any test; here: the attribute is not there.",
}

_MESSAGES: tuple[Mapping[str, str], ...] = (
    {},
    {"region": "eu"},
    {"region": "us"},
    {"region": "eu", "test": "1"},
    {"region": "EU-west"},
)
_FILTERS = (
    'region == "eu"',
    'region != "eu"',
    'not (region == "eu")',
    'region in ("eu", "us")',
    'region not in ("eu", "us")',
    'prefix(region, "EU")',
    "exists(test)",
    'region == "eu" and not exists(test)',
    'region == "us" or exists(test) and region == "eu"',
)


def page() -> str:
    """Return the page."""
    meanings = table(["test", "what it says"], ([code(test), meaning] for test, meaning in _TESTS.items()))
    return _HEAD + meanings + _ABSENT + _passing() + _LIMITS


_LIMITS = """
How long a filter may be, and how many attributes it may name, differs by cloud: [limits](limits.md).
"""


def _passing() -> str:
    head = ["filter", *(code(json.dumps(message)) for message in _MESSAGES)]
    rows = [
        [code(text), *("yes" if parse(text).matches(message) else "no" for message in _MESSAGES)] for text in _FILTERS
    ]
    return table(head, rows)
