"""Service Bus messages as the Functions worker makes them: what the host sends, through the library's own converter.

The names are those of the host's Service Bus extension (azure-sdk-for-net, ServiceBusTriggerBindingStrategy): one
message's metadata, or with cardinality many an array of each under `<Name>Array`. Hosts before its version 5.4 send no
SessionId.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from azure.functions import ServiceBusMessage
from azure.functions.meta import Datum
from azure.functions.servicebus import ServiceBusMessageInConverter

ENQUEUED = "2024-05-01T12:00:00.1234567"


def metadata(**given: Any) -> dict[str, Any]:
    """Return what a host says of one message; an item given as None is one that it doesn't say."""
    properties = given.pop("properties", {})
    said = {
        "MessageId": "0ab6d9c5a5d34a0a9e8e1d8a6a4f8f0d",
        "ContentType": "application/json",
        "DeliveryCount": 2,
        "EnqueuedTimeUtc": ENQUEUED,
        "SequenceNumber": 17,
        "SessionId": None,
        "ApplicationProperties": properties,
        "UserProperties": properties,
        **given,
    }
    return {name: value for name, value in said.items() if value is not None}


def message(body: bytes, **given: Any) -> ServiceBusMessage:
    """Return what a function with cardinality one gets: text where the body is, bytes where it isn't, or nothing."""
    found = ServiceBusMessageInConverter.decode(
        _datum(body), trigger_metadata={name: _said(value) for name, value in metadata(**given).items()}
    )
    assert isinstance(found, ServiceBusMessage)
    return found


def messages(batch: Sequence[tuple[bytes, Mapping[str, Any]]]) -> list[ServiceBusMessage]:
    """Return what a function with cardinality many gets, for bodies that are text."""
    said = [metadata(**given) for _, given in batch]
    names = {name: None for one in said for name in one}
    arrays = {f"{name}Array": [one.get(name) for one in said] for name in names}
    found = ServiceBusMessageInConverter.decode(
        Datum(SimpleNamespace(string=[body.decode() for body, _ in batch]), "collection_string"),
        trigger_metadata={name: _array(values) for name, values in arrays.items()},
    )
    assert isinstance(found, list)
    return found


def _datum(body: bytes) -> Datum | None:
    if not body:
        return None
    try:
        return Datum(body.decode(), "string")
    except UnicodeDecodeError:
        return Datum(body, "bytes")


def _said(value: Any) -> Datum:
    if isinstance(value, str):
        return Datum(value, "string")
    return Datum(value, "int") if isinstance(value, int) else Datum(json.dumps(value), "json")


def _array(values: Sequence[Any]) -> Datum:
    """As the host does: arrays of one of the protocol's own types by it, anything else as JSON."""
    if all(isinstance(value, str) for value in values):
        return Datum(SimpleNamespace(string=values), "collection_string")
    if all(isinstance(value, int) for value in values):
        return Datum(SimpleNamespace(sint64=values), "collection_sint64")
    return Datum(json.dumps(values), "json")
