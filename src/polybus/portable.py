"""What every cloud's publisher checks alike, before anything is encoded (contract, P4)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from polybus.binding import Entity
from polybus.driver import Outgoing
from polybus.errors import Fault, FaultKind
from polybus.topology.limits import DEAD_LETTER_RESERVE_BYTES, attribute_name_problem, ordering_key_problem

__all__ = ["invalid", "problem", "safe_id", "too_large"]

_PLAIN = re.compile("[!-~]+")


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
    if len(text) <= longest and _PLAIN.fullmatch(text) is not None:
        return text
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


def _untyped(attributes: Mapping[str, str]) -> Iterable[tuple[object, object]]:
    """Return the attributes without the promise of their types, which callers can break."""
    return attributes.items()
