"""The bus's metrics for Prometheus, in its text format: no collector, and no library.

They are the metrics that OpenTelemetry gets, under the names that its specification gives them in Prometheus: dots are
underscores, what is in seconds ends with `_seconds`, and counters with `_total`.
"""

from __future__ import annotations

import bisect
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

from polybus.errors import Fault
from polybus.measures import INSTRUMENTS, Instrument, Measures, MeasuringHooks, Record
from polybus.message import Sent
from polybus.telemetry import Processing, Publishing, Settled

__all__ = ["CONTENT_TYPE", "PrometheusHooks", "name_of"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels: TypeAlias = tuple[tuple[str, str], ...]


def name_of(instrument: Instrument) -> str:
    """Return an instrument's name in Prometheus ("Prometheus and OpenMetrics Compatibility", OpenTelemetry)."""
    name = instrument.name.replace(".", "_") + ("_seconds" if instrument.unit == "s" else "")
    return f"{name}_total" if instrument.kind == "counter" else name


class PrometheusHooks(MeasuringHooks):
    """Counts what buses do: `hooks = PrometheusHooks()`, `polybus.connect(hooks=[hooks])`, and `hooks.text()`.

    One may be told by several buses, on several loops. `services` are those that `target_info` names.
    """

    def __init__(self, services: Sequence[str] = ()) -> None:
        self._lock = threading.Lock()
        self._families = {instrument: _Family(instrument) for instrument in INSTRUMENTS}
        super().__init__(Measures(self._recorded))
        self.services = tuple(services)

    def text(self) -> str:
        """Return everything as Prometheus's text format has it; to be served as CONTENT_TYPE."""
        lines: list[str] = []
        if self.services:
            lines += ["# HELP target_info Which services these are of.", "# TYPE target_info gauge"]
            lines.append(_sample("target_info", (("service_name", "+".join(self.services)),), 1))
        with self._lock:
            for family in self._families.values():
                lines += family.lines()
        return "".join(f"{line}\n" for line in lines)

    def _recorded(self, instrument: Instrument) -> Record:
        family, lock = self._families[instrument], self._lock

        def record(value: float, attributes: Mapping[str, str]) -> None:
            labels = tuple((name.replace(".", "_"), text) for name, text in attributes.items())
            with lock:
                family.record(labels, value)

        return record

    def publishing(self, event: Publishing) -> Callable[[Sent | Fault], None]:
        measured = self._measures.publishing(event)

        def done(outcome: Sent | Fault) -> None:
            measured(outcome)

        return done

    def processing(self, event: Processing) -> AbstractContextManager[None]:
        return _unsaid(self._measures.processing(event))

    def settled(self, event: Settled) -> None:
        self._measures.settled(event)


@contextmanager
def _unsaid(measured: AbstractContextManager[object]) -> Iterator[None]:
    with measured:
        yield


class _Family:
    """All series of one metric."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._name = name_of(instrument)
        self._sums: dict[Labels, float] = {}
        self._buckets: dict[Labels, list[int]] = {}

    def record(self, labels: Labels, value: float) -> None:
        self._sums[labels] = self._sums.get(labels, 0) + value
        if self._instrument.kind == "histogram":
            boundaries = self._instrument.boundaries
            counts = self._buckets.setdefault(labels, [0] * (len(boundaries) + 1))
            counts[bisect.bisect_left(boundaries, value)] += 1  # a boundary is in the bucket that it ends

    def lines(self) -> Iterator[str]:
        """Give the metric as text; nothing of one that was never recorded."""
        if not self._sums:
            return
        kind = {"up_down_counter": "gauge"}.get(self._instrument.kind, self._instrument.kind)
        yield f"# HELP {self._name} {self._instrument.description}"
        yield f"# TYPE {self._name} {kind}"
        for labels, total in self._sums.items():
            if kind == "histogram":
                yield from self._histogram(labels, total)
            else:
                yield _sample(self._name, labels, total)

    def _histogram(self, labels: Labels, total: float) -> Iterator[str]:
        count = 0
        bounds = [_number(bound) for bound in self._instrument.boundaries]
        for bound, more in zip([*bounds, "+Inf"], self._buckets[labels], strict=True):
            count += more
            yield _sample(f"{self._name}_bucket", (*labels, ("le", bound)), count)
        yield _sample(f"{self._name}_sum", labels, total)
        yield _sample(f"{self._name}_count", labels, count)


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _escaped(text: str) -> str:
    """Write a label's value as the format wants it: backslashes, quotes and ends of lines escaped."""
    return re.sub(r'[\\"\n]', lambda found: {"\n": "\\n"}.get(found[0], f"\\{found[0]}"), text)


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
