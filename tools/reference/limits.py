"""The page of the clouds' limits, each with where it is written."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator

from polybus.registry import find
from polybus.topology.limits import CloudLimits
from tools.reference.markdown import table
from tools.reference.quantities import CLOUDS, LIMITS, shown, source

__all__ = ["page"]

_HEAD = """\
# Limits

What each cloud limits, as `polybus check`, plans and publishers hold to it. The letters say where a limit is written;
what each cloud's list begins with says which document a letter stands for. Quotas of an account may have been raised.

## What every cloud limits

"""


def page() -> str:
    """Return the page."""
    fields = [field.name for field in dataclasses.fields(CloudLimits) if field.name != "cloud"]
    rows = ([_words(field), *(_shown(name, field) for name in CLOUDS)] for field in fields)
    common = table(["limit", *(find(name).title for name in CLOUDS)], rows)
    return "\n".join([_HEAD + common, *(_own(name, set(fields)) for name in CLOUDS)])


def _shown(cloud: str, field: str) -> str:
    value = getattr(LIMITS[cloud], field)
    written = source(value)
    return shown(field, value) + (f" \\[{written}\\]" if written else "")


def _own(cloud: str, common: set[str]) -> str:
    rows = [[_words(field), _shown(cloud, field)] for field in _fields(cloud) if field not in common]
    about = " ".join(inspect.cleandoc(sys.modules[type(LIMITS[cloud]).__module__].__doc__ or "").split())
    return f"## {find(cloud).title}\n\n{_escaped(about)}\n\n{table(['limit', 'value'], rows)}"


def _fields(cloud: str) -> Iterator[str]:
    yield from (field.name for field in dataclasses.fields(LIMITS[cloud]) if field.name != "cloud")


def _words(field: str) -> str:
    return re.sub(r" bytes$", " size", field.replace("_", " "))


def _escaped(text: str) -> str:
    """Keep codes such as [k] from being taken for links."""
    return text.replace("[", "\\[").replace("]", "\\]")
