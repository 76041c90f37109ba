"""A topology as an AsyncAPI 3.0 document (asyncapi.com/docs/reference/specification/v3.0.0).

A topic or queue is a channel, whose address is its name in the topology: what it is called on a cloud is a stack's. An
operation is one service's right to publish or to consume.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polybus.catalogue.entries import Entry, Reader, entries
from polybus.contracts.payload import Payload
from polybus.errors import ConfigError
from polybus.topology.model import Service, Topology

__all__ = ["asyncapi"]

VERSION = "3.0.0"


def asyncapi(
    topology: Topology,
    *,
    service: str | None = None,
    version: str = "1.0.0",
    payloads: Mapping[str, Payload] | None = None,
) -> dict[str, Any]:
    """Return the document: of everything, or of what one `service` publishes and consumes.

    `version` is that of the application, and `payloads` the schemas of bodies by the name of the topic or queue.
    Raises ConfigError for a service that isn't declared.
    """
    if service is not None and service not in topology.services:
        known = ", ".join(topology.services) or "none"
        raise ConfigError(f"{topology.source}: there is no service {service!r}; declared: {known}")
    found = entries(topology)
    operations = dict(_operations(topology, found, service))
    if service is not None:
        used = {operation["channel"]["$ref"].rpartition("/")[2] for operation in operations.values()}
        found = tuple(entry for entry in found if entry.name in used)
    messages = {entry.name: _message(topology, entry, (payloads or {}).get(entry.name)) for entry in found}
    return {
        "asyncapi": VERSION,
        "info": _info(topology, service, version),
        "channels": {entry.name: _channel(entry) for entry in found},
        "operations": operations,
        "components": {"messages": messages},
    }


def _info(topology: Topology, service: str | None, version: str) -> dict[str, Any]:
    if service is None:
        return {"title": topology.name, "version": version, "description": f"The messages of the bus {topology.name}."}
    declared = topology.services[service]
    text = declared.description or f"What {service} publishes to the bus {topology.name}, and what it consumes."
    info: dict[str, Any] = {"title": f"{topology.name}: {service}", "version": version, "description": text}
    if declared.owner:
        info["contact"] = {"name": declared.owner}
    return info


def _channel(entry: Entry) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": entry.name,
        "title": f"{entry.kind} {entry.name}",
        "messages": {entry.name: {"$ref": f"#/components/messages/{entry.name}"}},
        "tags": [{"name": entry.kind}],
    }
    if text := _text(entry.declared.description, *(f"{name}: {what}" for name, what in entry.facts)):
        channel["description"] = text
    if entry.declared.owner:
        channel["x-owner"] = entry.declared.owner
    return channel


def _message(topology: Topology, entry: Entry, payload: Payload | None) -> dict[str, Any]:
    message: dict[str, Any] = {"name": entry.name, "title": f"what is published to {entry.name}"}
    if payload is not None:
        schema = payload.schema
        if payload.format is not None:
            schema = {"schemaFormat": payload.format, "schema": schema}
        message |= {"contentType": payload.content_type, "payload": schema}
    attributes = sorted(topology.filter_attributes(entry.name)) if entry.kind == "topic" else []
    if attributes:
        message["headers"] = {
            "type": "object",
            "description": "The attributes that subscriptions filter by.",
            "properties": {name: {"type": "string"} for name in attributes},
        }
    return message


def _operations(topology: Topology, found: tuple[Entry, ...], only: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, service in topology.services.items():
        if only is not None and name != only:
            continue
        for entry in found:
            if name in entry.publishers:
                yield f"{name}.publishes.{entry.name}", _operation("send", service, entry, f"{name} publishes")
            for reader in entry.readers:
                if name in reader.services:
                    yield f"{name}.consumes.{reader.source}", _consuming(service, entry, reader)


def _consuming(service: Service, entry: Entry, reader: Reader) -> dict[str, Any]:
    operation = _operation("receive", service, entry, f"{service.name} consumes {reader.source}")
    facts = [f"{name}: {what}" for name, what in reader.facts]
    if reader.filter:
        facts.insert(0, f"filter: {reader.filter}")
    operation["description"] = _text(reader.declared.description, *facts)
    return operation


def _operation(action: str, service: Service, entry: Entry, title: str) -> dict[str, Any]:
    reference = f"#/channels/{entry.name}"
    return {
        "action": action,
        "channel": {"$ref": reference},
        "title": title,
        "messages": [{"$ref": f"{reference}/messages/{entry.name}"}],
        "tags": [{"name": service.name}],
    }


def _text(description: str, *facts: str) -> str:
    lines = [description] if description else []
    return "\n\n".join([*lines, "\n".join(f"- {fact}" for fact in facts)] if facts else lines)
