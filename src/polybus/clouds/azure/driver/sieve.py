"""What a subscription's rule refuses, kept from its consumers until there is that rule.

Azure makes a subscription with a rule that lets everything pass, and only another call sets the one that was planned:
what is published in between is in the subscription. The planned rule marks all that it lets pass by a property that has
the subscription's own tag, so what has no mark is decided here. What has it is never asked about: a rule that was
changed since the binding was written knows better than the binding.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from polybus.binding import Entity, Kind
from polybus.envelope import RESERVED_RULE, RESERVED_TO
from polybus.topology.filters import parse

__all__ = ["Sieve"]

Message = TypeVar("Message")

_RULE, _TO = RESERVED_RULE.encode(), RESERVED_TO.encode()

_log = logging.getLogger("polybus")


class Sieve:
    """Tells what is for a subscription; of any other source everything is. `refused` counts what wasn't."""

    def __init__(self, source: Entity) -> None:
        subscription = source.kind is Kind.SUBSCRIPTION
        self._name = source.name
        self._tag = source.tag if subscription else None
        self._mark = None if self._tag is None else self._tag.encode()
        self._filter = parse(source.filter) if subscription and source.filter else None
        self.refused = 0

    def passes(self, properties: Mapping[str | bytes, object] | None) -> bool:
        """Say whether a message with these application properties is for this subscription."""
        if self._tag is None or not self._to_decide(properties or {}):
            return True
        found: dict[str, list[object]] = {}
        for name, value in (properties or {}).items():
            found.setdefault(_text(name).lower(), []).append(value)  # as Service Bus SQL, which knows no case in names
        if RESERVED_TO in found:
            # Redriven to one subscription alone: every rule keeps it out of the others.
            return self._is_mine(found[RESERVED_TO])
        if self._filter is None or self._is_mine(found.get(RESERVED_RULE, [])):
            return True
        named = {name: found[name.lower()] for name in self._filter.attributes if name.lower() in found}
        if not all(len(values) == 1 and isinstance(values[0], str | bytes) for values in named.values()):
            return True  # what isn't one text Service Bus compares in its own way: it has decided
        return self._filter.matches({name: _text(values[0]) for name, values in named.items()})

    def _to_decide(self, properties: Mapping[str | bytes, object]) -> bool:
        """Tell at a glance what the rule itself let pass, which is nearly everything; the library gives bytes."""
        return properties.get(_RULE) != self._mark or _TO in properties

    def _is_mine(self, values: Sequence[object]) -> bool:
        return [_text(value) for value in values] == [self._tag]

    def divide(
        self, messages: Sequence[Message], properties: Callable[[Message], Mapping[str | bytes, object] | None]
    ) -> tuple[list[Message], list[Message]]:
        """Return what is for this subscription, and what isn't, which is counted."""
        wanted: list[Message] = []
        refused: list[Message] = []
        for message in messages:
            (wanted if self.passes(properties(message)) else refused).append(message)
        if refused:
            self.note(len(refused))
        return wanted, refused

    def note(self, count: int) -> None:
        """Count messages that didn't pass; the log hears of the first at INFO, of all at DEBUG."""
        first = not self.refused
        self.refused += count
        if first:
            _log.info(
                "subscription %r had messages that its filter refuses, from before its rule was there: they are "
                "completed, and no handler sees them",
                self._name,
            )
        _log.debug("subscription %r: %d messages kept back by its filter so far", self._name, self.refused)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
