"""From what a caller publishes to what a driver sends, where the topology says what messages are."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from polybus.binding import Entity
from polybus.bus.outgoing import Encoder
from polybus.contracts.json_check import NotOfContract
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
            self._checker = checker(load(reference))
        except ConfigError as error:
            raise ConfigError(f"{target.kind.value} {target.name!r} has a contract (at {place}): {error}") from None
        self._about = f"a message to {target.name!r} is not what {reference} says (at {place})"

    def outgoing(
        self, value: object, attributes: Mapping[str, str] | None, ordering_key: str | None, delay: Duration
    ) -> tuple[Outgoing, bool]:
        """Return what to send, as Encoder does; raise PublishFailed where the body isn't what the contract says."""
        outgoing, blocks = super().outgoing(value, attributes, ordering_key, delay)
        return self.held(outgoing, value), blocks

    def held(self, outgoing: Outgoing, value: object, data: bytes | None = None) -> Outgoing:
        """Return what may be sent, with its content type; raise PublishFailed where it isn't what the contract says.

        `data` is what the contract is about where that is within the body, and not all of it.
        """
        message = outgoing.message
        self._check_body(message.body if data is None else data, value)
        allowed, said = self._checker.content_types, message.content_type
        if not allowed or said in allowed or (data is not None and data is not message.body):
            return outgoing
        if said is not None:
            raise self._refused("$", f"its content type is {said}, and {' or '.join(allowed)} is declared")
        message = msgspec.structs.replace(message, content_type=allowed[0])
        return msgspec.structs.replace(outgoing, message=message)

    def encode(self, value: object) -> tuple[bytes, str]:
        """Return the body of a value in the contract's form, and its content type; raise as `outgoing` does."""
        return self._encoded(value)

    def _encoded(self, value: object) -> tuple[bytes, str]:
        try:
            return self._checker.encoded(value)
        except NotOfContract as error:
            raise self._refused(*error.problem) from None
        except (TypeError, ValueError) as error:
            raise self._unencodable(value, error) from error

    def _check_body(self, body: bytes, value: object) -> None:
        problem = self._checker(body, value)
        if problem is not None:
            raise self._refused(*problem)

    def _refused(self, where: str, what: str) -> PublishFailed:
        return PublishFailed((Fault(FaultKind.INVALID, f"{self._about}: at {where}: {what}"),))
