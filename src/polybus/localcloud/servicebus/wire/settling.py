"""Outcomes of deliveries: what a receiver's disposition means, and its echo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import DecodeError, Described, decode_one
from polybus.localcloud.servicebus.amqp.sections import encoded_pairs, text
from polybus.localcloud.servicebus.entities import operations
from polybus.localcloud.servicebus.entities.operations import Changes
from polybus.localcloud.servicebus.wire.transactions import id_of

if TYPE_CHECKING:
    from polybus.localcloud.servicebus.wire.links import Outlet

__all__ = ["Outcome", "read_outcome", "settle"]

_OUTCOMES = (p.STATE_ACCEPTED, p.STATE_REJECTED, p.STATE_RELEASED, p.STATE_MODIFIED)
REASON, DESCRIPTION = "DeadLetterReason", "DeadLetterErrorDescription"


class Outcome:
    """What a disposition asks for: its code and its fields, decoded and as they came."""

    __slots__ = ("code", "encoded", "fields", "transaction")

    def __init__(self, code: int, fields: list[Any], encoded: list[bytes], transaction: bytes | None = None) -> None:
        self.transaction = transaction
        self.code = code
        self.fields = fields
        self.encoded = encoded

    def echo(self) -> bytes:
        """Return the echo of what was, or in a transaction will be, carried out; a rejection comes without an error."""
        plain = self._plain()
        return plain if self.transaction is None else p.transactional(self.transaction, plain)

    def _plain(self) -> bytes:
        if self.code != p.STATE_MODIFIED:
            return e.described(self.code, e.EMPTY_LIST)
        flags = [e.NULL if flag is None else e.boolean(bool(flag)) for flag in self.fields[:2]]
        return e.described(self.code, e.items([*flags, *[e.NULL] * (3 - len(flags))]))


def read_outcome(state: Any, encoded: bytes) -> Outcome:
    """Return a delivery state's outcome, given decoded and as it came; none means accepted; raise DecodeError."""
    if state is None:
        return Outcome(p.STATE_ACCEPTED, [], [])
    transaction = id_of(state)
    if transaction is not None:
        inner, coded = [*state.value, None][1], [*p.raw(encoded), b""][1]
        found = read_outcome(inner, coded)
        return Outcome(found.code, found.fields, found.encoded, transaction)
    if not isinstance(state, Described) or not isinstance(state.value, list):
        raise DecodeError("a disposition's state is no delivery state")
    code = p.code_of(state.descriptor)
    if not isinstance(code, int) or code not in _OUTCOMES:
        raise DecodeError(f"a disposition's state {code!r} is no outcome")
    return Outcome(code, state.value, p.raw(encoded))


def settle(link: Outlet, token: bytes, outcome: Outcome) -> None:
    """Carry out a disposition; raise Refusal where the lock, or its session's, is lost.

    `modified` is a deferral where it says undeliverable-here, and otherwise an abandon that counts, whatever it says of
    delivery-failed: clients of .NET, Java and JavaScript leave that out, and Go's says false.
    """
    link.require_session()
    how, changes = "completed", Changes()
    if outcome.code == p.STATE_RELEASED:
        how = "released"
    elif outcome.code == p.STATE_MODIFIED:
        undeliverable = len(outcome.fields) > 1 and outcome.fields[1] is True
        how = "defered" if undeliverable else "abandoned"
        if len(outcome.encoded) > 2:
            changes = Changes(properties=encoded_pairs(outcome.encoded[2]))
    elif outcome.code == p.STATE_REJECTED:
        how = "suspended"
        changes = _dead_letter_changes(outcome)
    operations.settle(link.mailbox, token, how, changes)


def _dead_letter_changes(outcome: Outcome) -> Changes:
    error = outcome.fields[0] if outcome.fields else None
    if not isinstance(error, Described) or not isinstance(error.value, list) or len(error.value) < 3:
        return Changes()
    found: dict[str, str | None] = {}
    others: list[tuple[bytes, bytes]] = []
    for key, value in encoded_pairs(p.raw(outcome.encoded[0])[2]):
        name = text(decode_one(key))
        if name in (REASON, DESCRIPTION):
            given = text(decode_one(value))
            found[name] = None if given is None else str(given)
        else:
            others.append((key, value))
    return Changes(found.get(REASON), found.get(DESCRIPTION), others)
