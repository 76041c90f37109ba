"""The page of the environment variables."""

from __future__ import annotations

from polybus.variables import EXPLAINED
from tools.reference.markdown import code, table

__all__ = ["page"]

_HEAD = """\
# Environment variables

[Configuration](../configuration.md) says in which order they count. A name that is nearly one of these is a WARNING;
nearly `POLYBUS_BINDING` is refused.

"""
_TAIL = """
What the clouds' own SDKs read (`AWS_*`, `AZURE_*`, `GOOGLE_*`) is theirs: the pages of [AWS](../aws.md),
[Azure](../azure.md) and [Google Cloud](../gcp.md) say what polybus needs of it. `OTEL_*` is
[OpenTelemetry](../observability.md)'s.
"""


def page() -> str:
    """Return the page."""
    rows = ([code(name), each.values, each.meaning] for name, each in EXPLAINED.items())
    return _HEAD + table(["variable", "values", "what it does"], rows) + _TAIL
