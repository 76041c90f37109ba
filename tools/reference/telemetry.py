"""The page of spans and metrics, from the instruments that are made and the attributes that are set."""

from __future__ import annotations

import inspect
import re

from polybus import measures, otel
from polybus.measures import INSTRUMENTS
from polybus.prometheus import name_of
from tools.reference.markdown import code, literal_blocks, table

__all__ = ["page"]


_KINDS = {"counter": "counter", "up_down_counter": "up-down counter", "histogram": "histogram"}


def page() -> str:
    """Return the page."""
    rows = [
        [
            code(one.name),
            code(name_of(one)),
            one.kind.replace("up_down", "up-down").replace("_", " "),
            code(one.unit),
            one.description,
        ]
        for one in INSTRUMENTS
    ]
    metrics = table(["metric", "in Prometheus", "instrument", "unit", "what"], rows)
    attributes = table(["attribute"], ([code(name)] for name in _attributes()))
    texts = (inspect.cleandoc(module.__doc__ or "").partition("\n\n")[2] for module in (otel, measures))
    about = "\n\n".join(map(literal_blocks, texts))
    return (
        "# Spans and metrics\n\nHow they are switched on: [logs and telemetry](../observability.md).\n\n"
        f"## Metrics\n\n{metrics}\n## Spans, and what they mean\n\n{about}\n\n## Attributes\n\n{attributes}"
    )


def _attributes() -> list[str]:
    """Return the names of attributes that are set: every such name in the modules that is no metric's."""
    source = inspect.getsource(otel) + inspect.getsource(measures)
    named = set(re.findall(r'"((?:messaging|polybus|error)\.[a-z_.]+)"', source))
    return sorted(named - {one.name for one in INSTRUMENTS})
