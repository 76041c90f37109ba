"""Outcomes of deliveries: what a receiver's disposition means, and its echo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.decode import DecodeError, Described
from polybus.localcloud.servicebus.amqp.sections import text
from polybus.localcloud.servicebus.entities import operations

if TYPE_CHECKING:
    from polybus.localcloud.servicebus.wire.links import Outlet

__all__ = ["outcome", "settle"]


def _parts(state: Any) -> tuple[int, list[Any]]:
    """Return (code, fields) of a delivery state; settled without one means accepted."""
    if state is None:
        return p.STATE_ACCEPTED, []
    if not isinstance(state, Described) or not isinstance(state.value, list):
        raise DecodeError("a disposition's state is no delivery state")
    code = p.DESCRIPTOR_NAMES.get(str(state.descriptor), state.descriptor)
    if code not in (p.STATE_ACCEPTED, p.STATE_REJECTED, p.STATE_RELEASED, p.STATE_MODIFIED):
        raise DecodeError(f"a disposition's state {code!r} is no outcome")
    return code, state.value


def outcome(state: Any) -> bytes:
    """Return the echo of a state that was carried out; a rejection comes back without an error."""
    code, found = _parts(state)
    if code != p.STATE_MODIFIED:
        return e.described(code, e.EMPTY_LIST)
    flags = [e.NULL if flag is None else e.boolean(bool(flag)) for flag in found[:2]]
    return e.described(code, e.items([*flags, *[e.NULL] * (3 - len(flags))]))


def settle(link: Outlet, token: bytes, state: Any) -> None:
    """Carry out a disposition; raise Refusal where the lock, or its session's, is lost."""
    code, found = _parts(state)
    link.require_session()
    how, reason, description = "completed", None, None
    if code == p.STATE_RELEASED:
        how = "released"
    elif code == p.STATE_MODIFIED:
        undeliverable = len(found) > 1 and found[1] is True
        failed = bool(found) and found[0] is True
        how = "defered" if undeliverable else ("abandoned" if failed else "released")
    elif code == p.STATE_REJECTED:
        how = "suspended"
        reason, description = _dead_letter_reason(found)
    operations.settle(link.mailbox, token, how, reason, description)


def _dead_letter_reason(found: list[Any]) -> tuple[str | None, str | None]:
    error = found[0].value if found and isinstance(found[0], Described) else None
    if not isinstance(error, list):
        return None, None
    info = error[2] if len(error) > 2 and isinstance(error[2], dict) else {}
    named = {text(key): text(value) for key, value in info.items()}
    reason, description = named.get("DeadLetterReason"), named.get("DeadLetterErrorDescription")
    return (
        None if reason is None else str(reason),
        None if description is None else str(description),
    )
