"""A schema: its revisions, oldest first, and messages checked by those that a topic allows."""

from __future__ import annotations

import secrets

from polybus.localcloud.pubsub.protocol import Proto, copy, set_time
from polybus.localcloud.pubsub.refusal import Refused, invalid, not_found, unmet
from polybus.localcloud.pubsub.validation import (
    AVRO,
    BINARY,
    JSON,
    PROTOCOL_BUFFER,
    definition_problem,
    message_problem,
)

__all__ = ["SchemaRevisions", "check_definition", "check_message", "split", "stamp"]

MOST_REVISIONS = 20
"""Of one schema (https://cloud.google.com/pubsub/quotas)."""
_ENCODINGS = {JSON: "JSON", BINARY: "BINARY"}


def check_definition(schema: Proto) -> None:
    """Refuse a Schema whose type or definition is none."""
    if schema.type_ not in (PROTOCOL_BUFFER, AVRO):
        raise invalid("The schema must have a type.")
    problem = definition_problem(schema.type_, schema.definition)
    if problem is not None:
        raise invalid(f"Invalid schema definition: {problem}.")


def check_message(schema: Proto, encoding: int, data: bytes) -> None:
    """Refuse data that isn't of a schema that was checked."""
    if encoding not in _ENCODINGS:
        raise invalid("The message must have an encoding: JSON or BINARY.")
    problem = message_problem(schema.type_, schema.definition, encoding, data)
    if problem is not None:
        raise invalid(f"Invalid message: {problem}.")


def split(name: str) -> tuple[str, str]:
    """Return a schema's name, and the revision that it may name behind an @."""
    schema, _, revision = name.partition("@")
    return schema, revision


class SchemaRevisions:
    """Never empty; each revision is a google.pubsub.v1.Schema with an id and a time of its own."""

    def __init__(self, revisions: list[Proto]) -> None:
        self.revisions = revisions

    @property
    def name(self) -> str:
        name: str = self.revisions[0].name
        return name

    @property
    def latest(self) -> Proto:
        return self.revisions[-1]

    def revision(self, revision_id: str) -> Proto:
        """Return the revision with this id, the latest for none; refuse where there is no such one."""
        if not revision_id:
            return self.latest
        found = next((one for one in self.revisions if one.revision_id == revision_id), None)
        if found is None:
            raise not_found(f"{self.name}@{revision_id}")
        return found

    def commit(self, definition: str, now: float) -> Proto:
        """Add a revision with a definition that was checked, and return it."""
        if len(self.revisions) >= MOST_REVISIONS:
            raise unmet(f"A schema has at most {MOST_REVISIONS} revisions: delete one first.")
        schema = copy(self.latest)
        schema.definition = definition
        stamp(schema, now)
        self.revisions.append(schema)
        return schema

    def drop(self, revision_id: str) -> None:
        """Forget a revision; refuse that of the only one."""
        found = self.revision(revision_id)
        if len(self.revisions) == 1:
            raise unmet("The only revision of a schema can't be deleted: delete the schema.")
        self.revisions.remove(found)

    def range_of(self, settings: Proto) -> list[Proto]:
        """Return the revisions that a topic's settings allow; refuse settings that name none, or in the wrong order."""
        if settings.encoding not in _ENCODINGS:
            raise invalid("The schema_settings must have an encoding: JSON or BINARY.")
        first, last = settings.first_revision_id, settings.last_revision_id
        begin = self.revisions.index(self.revision(first)) if first else 0
        end = self.revisions.index(self.revision(last)) if last else len(self.revisions) - 1
        if begin > end:
            raise invalid("The first_revision_id must not be later than the last_revision_id.")
        return self.revisions[begin : end + 1]

    def check(self, settings: Proto, message: Proto) -> None:
        """Refuse a message of none of the revisions that are allowed; note on it the latest that it is of."""
        problem: Refused | None = None
        try:
            allowed = self.range_of(settings)
        except Refused as refused:
            raise unmet(f"The topic's schema settings can't be used: {refused.detail}") from None
        for revision in reversed(allowed):
            try:
                check_message(revision, settings.encoding, message.data)
            except Refused as refused:
                problem = problem or refused
                continue
            message.attributes["googclient_schemaencoding"] = _ENCODINGS[settings.encoding]
            message.attributes["googclient_schemaname"] = self.name
            message.attributes["googclient_schemarevisionid"] = revision.revision_id
            return
        assert problem is not None  # noqa: S101 - there is a revision, and it was refused
        raise problem


def stamp(schema: Proto, now: float) -> None:
    """Give a revision its id and its time."""
    schema.revision_id = secrets.token_hex(4)
    set_time(schema.revision_create_time, now)
