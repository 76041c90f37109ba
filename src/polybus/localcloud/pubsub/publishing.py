"""What a publish request may hold."""

from __future__ import annotations

from polybus.localcloud.pubsub import limits
from polybus.localcloud.pubsub.protocol import Proto
from polybus.localcloud.pubsub.refusal import invalid

__all__ = ["check_publish"]


def check_publish(request: Proto) -> None:
    """Refuse a PublishRequest as a whole where Google would; fields that only the server sets are cleared."""
    messages = request.messages
    if not messages:
        raise invalid("The value for message_count is too small. You passed 0 in the request, but the minimum is 1.")
    if len(messages) > limits.PUBLISH_MESSAGES:
        raise _too_large("message_count", len(messages), limits.PUBLISH_MESSAGES)
    size = request.ByteSize()
    if size > limits.PUBLISH_BYTES:
        raise _too_large("request_size", size, limits.PUBLISH_BYTES)
    key = messages[0].ordering_key
    if len(key) > limits.ORDERING_KEY_BYTES or (key and len(key.encode()) > limits.ORDERING_KEY_BYTES):
        raise _too_large("ordering_key", len(key.encode()), limits.ORDERING_KEY_BYTES)
    for message in messages:
        if message.ordering_key != key:
            raise invalid(
                "In a single publish request, all messages must have no ordering key or they must all have the same "
                "ordering key."
            )
        attributes = message.attributes
        if attributes:
            _check_attributes(attributes)
        elif not message.data:
            raise invalid(
                "One or more messages in the publish request is empty. Each message must contain either non-empty "
                "data, or at least one attribute."
            )
        if message.message_id or message.HasField("publish_time"):
            message.ClearField("message_id")
            message.ClearField("publish_time")


def _check_attributes(attributes: Proto) -> None:
    if len(attributes) > limits.ATTRIBUTES:
        raise _too_large("number of attributes", len(attributes), limits.ATTRIBUTES)
    for key, value in attributes.items():
        if not key:
            raise invalid("The request contains an attribute key that is empty.")
        if len(key) > limits.ATTRIBUTE_KEY_BYTES // 4 and len(key.encode()) > limits.ATTRIBUTE_KEY_BYTES:
            raise _too_large("attribute key length", len(key.encode()), limits.ATTRIBUTE_KEY_BYTES)
        # A character takes at most four bytes: shorter texts can't be over.
        if len(value) > limits.ATTRIBUTE_VALUE_BYTES // 4 and len(value.encode()) > limits.ATTRIBUTE_VALUE_BYTES:
            raise _too_large("attribute value length", len(value.encode()), limits.ATTRIBUTE_VALUE_BYTES)
        # Google's own clients send trace context as `googclient_...`.
        if key.startswith("goog") and not key.startswith("googclient_"):
            raise invalid(f"The request contains an attribute key that begins with 'goog': {key}.")


def _too_large(what: str, found: int, maximum: int) -> Exception:
    return invalid(
        f"The value for {what} is too large. You passed {found} in the request, but the maximum value is {maximum}."
    )
