"""The page of spans and metrics, from the instruments that are made and the attributes that are set."""

from __future__ import annotations

import inspect
import re
from typing import Any

from polybus import otel
from tools.reference.markdown import code, literal_blocks, table

__all__ = ["page"]

_KINDS = {"counter": "counter", "up_down_counter": "up-down counter", "histogram": "histogram"}


class _Meter:
    """Takes down what is made of it."""

    def __init__(self) -> None:
        self.rows: list[list[str]] = []

    def __getattr__(self, method: str) -> Any:
        kind = _KINDS[method.removeprefix("create_")]

        def make(name: str, unit: str, description: str, **more: Any) -> None:
            self.rows.append([code(name), kind, code(unit), description])

        return make


def page() -> str:
    """Return the page."""
    meter: Any = _Meter()
    otel._Meters(meter)
    metrics = table(["metric", "instrument", "unit", "what"], meter.rows)
    attributes = table(["attribute"], ([code(name)] for name in _attributes(meter.rows)))
    about = literal_blocks(inspect.cleandoc(otel.__doc__ or "").partition("\n\n")[2])
    return (
        "# Spans and metrics\n\nHow they are switched on: [logs and telemetry](../observability.md).\n\n"
        f"## Metrics\n\n{metrics}\n## Spans, and what they mean\n\n{about}\n\n## Attributes\n\n{attributes}"
    )


def _attributes(metrics: list[list[str]]) -> list[str]:
    """Return the names of attributes that the module sets: every such name that is no metric's."""
    named = set(re.findall(r'"((?:messaging|polybus|error)\.[a-z_.]+)"', inspect.getsource(otel)))
    return sorted(named - {row[0].strip("`") for row in metrics})
