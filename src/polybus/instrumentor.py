"""What `opentelemetry-instrument` finds: every bus of the process tells OpenTelemetry, without a line of code.

It is registered under the entry point group `opentelemetry_instrumentor`, and is used like the instrumentors of other
libraries, whose base class isn't needed for that.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from polybus.otel import OpenTelemetryHooks
from polybus.telemetry import listen, unlisten

__all__ = ["PolybusInstrumentor"]

_hooks: list[OpenTelemetryHooks] = []


class PolybusInstrumentor:
    """Instruments buses that are connected from then on; there is one state in a process, whoever asks."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """List what is instrumented: polybus itself, which is here."""
        return ()

    @property
    def is_instrumented_by_opentelemetry(self) -> bool:
        return bool(_hooks)

    def instrument(self, **options: Any) -> None:
        """Tell OpenTelemetry from now on; `tracer_provider` and `meter_provider` may be given, else they are global.

        Raises MissingExtra where opentelemetry-api isn't installed.
        """
        if not _hooks:
            _hooks.append(OpenTelemetryHooks(options.get("tracer_provider"), options.get("meter_provider")))
            listen(_hooks[0])

    def uninstrument(self, **options: Any) -> None:
        """Stop telling, of buses that are connected from now on."""
        while _hooks:
            unlisten(_hooks.pop())
