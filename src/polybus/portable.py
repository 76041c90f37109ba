"""What every driver does alike: checks before anything is encoded (contract, P4), and the net under attempts (D6)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from polybus.binding import Entity, Kind
from polybus.driver import Outgoing
from polybus.errors import Fault, FaultKind
from polybus.topology.limits import (
    DEAD_LETTER_RESERVE_BYTES,
    NET_ATTEMPTS,
    attribute_name_problem,
    ordering_key_problem,
)

__all__ = ["MAX_ATTEMPTS_EXCEEDED", "invalid", "net_limit", "problem", "safe_id", "too_large"]

MAX_ATTEMPTS_EXCEEDED = "MaxAttemptsExceeded"
"""The reason of a dead letter that the backend itself made, after the last delivery that it allows (contract, D6)."""


def problem(outgoing: Outgoing, target: Entity, cloud: str, *, moved: bool = False) -> Fault | None:
    """Say what is wrong with a message's id, attributes or key, whatever the cloud; None where nothing is.

    With `moved` its attributes may have any name, and its key be any: the cloud handed it over with them (D14).
    """
    message = outgoing.message
    for what, text in (("id", message.id), ("content type", message.content_type)):
        if text is None or (type(text) is str and text.isascii()):
            continue  # nearly always, and each message passes here
        if (wrong := _text_problem(text)) is not None:
            return invalid(target, cloud, f"the {what} {wrong}")
    for name, value in _untyped(message.attributes):
        wrong = None if moved and isinstance(name, str) else attribute_name_problem(name)
        if wrong is not None:
            return invalid(target, cloud, wrong)
        if not isinstance(value, str):
            return invalid(target, cloud, f"attribute {name!r} is {type(value).__name__}, not str")
        if not value.isascii() and (wrong := _text_problem(value)) is not None:
            return invalid(target, cloud, f"the value of attribute {name!r} {wrong}")
    if message.ordering_key is not None and not moved:
        wrong = ordering_key_problem(message.ordering_key)
        if wrong is not None:
            return invalid(target, cloud, wrong)
    return None


def _text_problem(text: object) -> str | None:
    """Say why something isn't a text that any cloud carries; None where it is."""
    if not isinstance(text, str):
        return f"is {type(text).__name__}, not str"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "has a lone surrogate: not Unicode text"
    return None


def safe_id(text: str, longest: int = 120) -> str:
    """Return an id that a cloud takes for deduplication, groups or messages: the text itself where that is one.

    That is 1 to `longest` printable ASCII characters without spaces. Of any other it is the SHA-256 in hexadecimal: the
    same for the same text, another for any other, so the true one has to travel elsewhere. 120 leaves room for `.<n>`
    where a cloud takes 128 (SQS: MessageDeduplicationId, MessageGroupId; Service Bus: MessageId).
    """
    if 0 < len(text) <= longest and text.isascii() and text.isprintable() and " " not in text:
        return text
    import hashlib  # loads OpenSSL, for what is rare

    # Callers can bring lone surrogates, which have no UTF-8.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:longest]


def invalid(target: Entity, cloud: str, what: str) -> Fault:
    """Return the fault of a message that can't be sent for what it is."""
    return Fault(FaultKind.INVALID, f"{target.kind.value} {target.name!r} on {cloud}: {what}")


def too_large(target: Entity, cloud: str, size: int, limit: int) -> Fault:
    """Return the fault of a message whose `size`, as the cloud counts it, leaves no room under `limit` (bytes)."""
    return Fault(
        FaultKind.TOO_LARGE,
        f"{target.kind.value} {target.name!r} on {cloud}: {size} bytes as encoded; the limit is {limit}, of which "
        f"{DEAD_LETTER_RESERVE_BYTES} are kept for dead-lettering; send a reference to the content instead",
    )


def net_limit(entity: Entity) -> int | None:
    """Return after how many deliveries the backend dead-letters by itself; None for dead letters, that have none."""
    return None if entity.kind is Kind.DEAD_LETTERS else entity.max_attempts + NET_ATTEMPTS


def _untyped(attributes: Mapping[str, str]) -> Iterable[tuple[object, object]]:
    """Return the attributes without the promise of their types, which callers can break."""
    return attributes.items()
