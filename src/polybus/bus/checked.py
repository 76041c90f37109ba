"""From what a caller publishes to what a driver sends, where the topology says what messages are."""

from __future__ import annotations

from collections.abc import Mapping

from polybus.binding import Entity
from polybus.bus.outgoing import Encoder
from polybus.contracts.load import load
from polybus.contracts.publishing import checker
from polybus.driver import Outgoing
from polybus.durations import Duration
from polybus.errors import ConfigError, Fault, FaultKind, PublishFailed
from polybus.telemetry import Hooks

__all__ = ["CheckedEncoder"]


class CheckedEncoder(Encoder):
    """Refuses what doesn't keep to the target's contract, before anything is sent.

    Raises ConfigError where the contract can't be read.
    """

    def __init__(self, target: Entity, backend: str, hooks: Hooks | None) -> None:
        super().__init__(target, backend, hooks)
        reference = str(target.schema)
        place = f"$.{target.kind.value}s.{target.name}.schema"
        try:
            self._problem = checker(load(reference))
        except ConfigError as error:
            raise ConfigError(f"{target.kind.value} {target.name!r} has a contract (at {place}): {error}") from None
        self._about = f"a message to {target.name!r} is not what {reference} says (at {place})"

    def outgoing(
        self, value: object, attributes: Mapping[str, str] | None, ordering_key: str | None, delay: Duration
    ) -> tuple[Outgoing, bool]:
        """Return what to send, as Encoder does; raise PublishFailed where the body isn't what the contract says."""
        outgoing, blocks = super().outgoing(value, attributes, ordering_key, delay)
        self.check(outgoing.message.body, value)
        return outgoing, blocks

    def check(self, body: bytes, value: object = None) -> None:
        """Raise PublishFailed where a body, that of `value`, isn't what the contract says."""
        problem = self._problem(body, value)
        if problem is not None:
            where, what = problem
            raise PublishFailed((Fault(FaultKind.INVALID, f"{self._about}: at {where}: {what}"),))
