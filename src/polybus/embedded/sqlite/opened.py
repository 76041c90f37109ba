"""A file that is open, and what a binding names in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybus.binding import Binding, Entity, Kind
from polybus.driver import PublisherDriver
from polybus.embedded.rules import DedupWindow
from polybus.embedded.sqlite.publish import Publisher
from polybus.embedded.sqlite.sources import Route, Source, routes
from polybus.embedded.sqlite.writer import Writer
from polybus.errors import BackendError, Fault, FaultKind

__all__ = ["Opened"]


@dataclass(slots=True)
class Opened:
    """What is there once the file was opened; `sources` by their addresses."""

    path: Path
    binding: Binding
    writer: Writer
    sources: Mapping[str, Source]
    _windows: dict[str, DedupWindow] = field(default_factory=dict)

    def source(self, entity: Entity) -> Source:
        """Return a source as the file knows it; raises BackendError (NOT_FOUND)."""
        try:
            return self.sources[entity.address]
        except KeyError:
            raise self._missing(entity) from None

    def check_topic(self, topic: Entity) -> None:
        """Raise BackendError (NOT_FOUND) where the binding has no such topic: the file keeps none."""
        if all(each.address != topic.address for each in self.binding.topics.values()):
            raise self._missing(topic)

    def publisher(self, target: Entity) -> PublisherDriver[Any]:
        """Return a publisher to a topic or queue."""
        if target.kind is Kind.TOPIC:
            self.check_topic(target)
            to = routes(self.binding, self.sources, target)
        else:
            to = [Route(self.source(target))]
        return Publisher(self.writer, target, to, self._window(target.address), returning=False)

    def publisher_back(self, source: Entity) -> PublisherDriver[Any]:
        """Return a publisher to this one subscription or queue, for redrive."""
        to = [Route(self.source(source))]
        return Publisher(self.writer, source, to, self._window(f"return to {source.address}"), returning=True)

    def _window(self, address: str) -> DedupWindow:
        return self._windows.setdefault(address, DedupWindow())

    def _missing(self, entity: Entity) -> BackendError:
        detail = f"{entity.kind.value} {entity.name!r}: {entity.address!r} is not in the binding of {self.path}"
        return BackendError(Fault(FaultKind.NOT_FOUND, detail))
