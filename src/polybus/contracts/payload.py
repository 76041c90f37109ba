"""What a contract says of messages, for documents: other programs read it, and people do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from polybus.contracts.load import Contract

__all__ = ["Payload", "payload_of"]


@dataclass(frozen=True, slots=True)
class Payload:
    """A schema as it is shown.

    `schema` is JSON, or the text of a language of its own. `format` is how AsyncAPI names that language, None for JSON
    Schema.
    """

    schema: Any
    content_type: str = "application/json"
    format: str | None = None

    @property
    def text(self) -> str:
        """The schema for people."""
        return self.schema if isinstance(self.schema, str) else json.dumps(self.schema, indent=2, ensure_ascii=False)


def payload_of(contract: Contract) -> Payload:
    """Return what a contract says."""
    if contract.kind == "avro":
        from polybus.contracts.avro_publishing import AVRO

        return Payload(contract.schema.own.source, AVRO, "application/vnd.apache.avro;version=1.9.0")
    if contract.kind == "protobuf":
        from polybus.contracts.proto_text import text_of
        from polybus.message import PROTOBUF

        text = text_of(contract.schema)
        version = 3 if 'syntax = "proto3"' in text else 2
        return Payload(text, PROTOBUF, f"application/vnd.google.protobuf;version={version}")
    return Payload(contract.schema)
