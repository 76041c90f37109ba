"""Resource names: projects/P/topics/T and its kin."""

from __future__ import annotations

import re

from polybus.localcloud.pubsub.refusal import invalid

__all__ = ["DELETED_SCHEMA", "DELETED_TOPIC", "check_name", "check_project", "project_of"]

# What a subscription names as its topic once that is deleted.
DELETED_TOPIC = "_deleted-topic_"
# What a topic names as its schema once that is deleted.
DELETED_SCHEMA = "_deleted-schema_"

_PROJECT = r"projects/[^/\s]+"
# https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names
_ID = r"(?!goog)[A-Za-z][A-Za-z0-9\-_.~+%]{2,254}"
_NAMES = {kind: re.compile(rf"{_PROJECT}/{kind}/{_ID}") for kind in ("topics", "subscriptions", "snapshots", "schemas")}
_PROJECT_NAME = re.compile(_PROJECT)


def check_name(name: str, kind: str) -> None:
    """Refuse what is no well-formed name of `kind` (topics, subscriptions, snapshots, schemas)."""
    if not _NAMES[kind].fullmatch(name):
        raise invalid(f"Invalid [{kind}] name: (name={name})")


def check_project(name: str) -> None:
    """Refuse what is no projects/P."""
    if not _PROJECT_NAME.fullmatch(name):
        raise invalid(f"Invalid [projects] name: (name={name})")


def project_of(name: str) -> str:
    """Return the P of projects/P/..."""
    return name.split("/", 2)[1]
