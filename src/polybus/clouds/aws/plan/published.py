"""Each service's binding in a parameter of AWS Systems Manager, where the stack's configuration asks for it.

A Lambda function has 4 KB for all its environment variables, and a container no way to see that a stack has changed: a
service that is given `ssm:<name>` reads it there when it starts, with the right to read that one parameter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from polybus.plan.entities import service_bindings
from polybus.plan.values import Json, Ref, Resource
from polybus.topology.model import Topology

__all__ = ["INSTEAD", "LAMBDA", "SSM", "name_of", "reading", "references", "resources"]

SSM = "ssm"

LAMBDA = 4_096
"""Bytes of all environment variables of a Lambda function together ("Lambda quotas", AWS Lambda Developer Guide)."""

INSTEAD = (
    f"Lambda takes {LAMBDA:,} for all environment variables together; instead: bindings = ssm in the stack's "
    "configuration, and POLYBUS_BINDING=ssm:<parameter>"
)


def name_of(topology: Topology, stack: str, service: str) -> str:
    """Give the name of a service's parameter: of its own folder, so that no other bus's or stack's is the same."""
    return "/" + "/".join(part for part in ("polybus", topology.name, stack, service) if part)


def resources(topology: Topology, stack: str, values: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Resource]:
    """Plan one parameter a service, of the whole binding's values."""
    for service, binding in service_bindings(topology, values).items():
        properties = {
            "name": name_of(topology, stack, service),
            "description": f"What {service} reads of the bus {topology.name}: polybus's binding",
            "type": "String",
            # Not a secret, and a preview should show what changes: the other argument would hide it.
            "insecure_value": Json(binding),
            # Up to 4 KB in the tier that costs nothing, up to 8 KB in the other ("Managing parameter tiers").
            "tier": "Intelligent-Tiering",
            "tags": dict(tags),
        }
        yield Resource(
            "aws:ssm/parameter:Parameter", f"{service}-binding", properties, "binding", f"$.services.{service}"
        )


def references(topology: Topology, stack: str, where: str | None) -> dict[str, Any]:
    """Give what POLYBUS_BINDING of each service may say instead of the binding; nothing where none is put anywhere."""
    names = {service: f"{SSM}:{name_of(topology, stack, service)}" for service in topology.services}
    return {"bindingReferences": names} if where == SSM else {}


def reading(documents: Mapping[str, Mapping[str, Any]], topology: Topology) -> dict[str, Mapping[str, Any]]:
    """Add to each service's policy that it may read its own parameter."""
    return {service: _with_reading(service, documents.get(service)) for service in topology.services}


def _with_reading(service: str, document: Mapping[str, Any] | None) -> Mapping[str, Any]:
    statement = {
        "Sid": "ReadBinding",
        "Effect": "Allow",
        "Action": ["ssm:GetParameter"],
        "Resource": [Ref(f"{service}-binding", "arn")],
    }
    before = document["Statement"] if document is not None else []
    return {"Version": "2012-10-17", "Statement": [*before, statement]}
