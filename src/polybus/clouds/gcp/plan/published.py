"""Each service's binding in a secret of Google Secret Manager, where the stack's configuration asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from polybus.plan.entities import service_bindings
from polybus.plan.names import Names
from polybus.plan.values import Join, Json, Ref, Resource
from polybus.topology.model import Topology

if TYPE_CHECKING:
    from polybus.plan.later import Text

__all__ = ["ACCESSOR", "SECRET_MANAGER", "Scene", "references", "resources"]

SECRET_MANAGER = "secretmanager"  # noqa: S105 - a place, no secret
ACCESSOR = "roles/secretmanager.secretAccessor"
_SECRET = "gcp:secretmanager/secret:Secret"  # noqa: S105 - a resource type, no secret
_VERSION = "gcp:secretmanager/secretVersion:SecretVersion"
_MEMBER = "gcp:secretmanager/secretIamMember:SecretIamMember"


@dataclass(frozen=True, slots=True)
class Scene:
    """For whom the secrets are, and where they may be kept."""

    names: Names
    inside: Mapping[str, Any]
    labels: Mapping[str, str]
    regions: Sequence[str]
    members: Mapping[str, Text]


def resources(topology: Topology, values: Mapping[str, Any], scene: Scene) -> Iterator[Resource]:
    """Plan one secret a service, of the whole binding's values, which that service's member may read."""
    replicas = [{"location": region} for region in scene.regions]
    replication = {"user_managed": {"replicas": replicas}} if replicas else {"auto": {}}
    for service, binding in service_bindings(topology, values).items():
        name, entry = f"{service}.binding", f"$.services.{service}"  # the dot is in no name, so these are unique
        secret = {
            **scene.inside,
            "secret_id": scene.names.of(service),
            "replication": replication,
            "labels": dict(scene.labels),
        }
        yield Resource(_SECRET, name, secret, "binding", entry)
        yield Resource(
            _VERSION, f"{name}-version", {"secret": Ref(name, "id"), "secret_data": Json(binding)}, "binding", entry
        )
        if service in scene.members:
            access = {"secret_id": Ref(name, "id"), "role": ACCESSOR, "member": scene.members[service]}
            yield Resource(_MEMBER, f"{name}-reader", access, "rights", entry)


def references(topology: Topology, where: str | None) -> dict[str, Any]:
    """Give what POLYBUS_BINDING of each service may say instead of the binding; nothing where none is put anywhere."""
    if where != SECRET_MANAGER:
        return {}
    names = {service: Join((f"{SECRET_MANAGER}:", Ref(f"{service}.binding", "id"))) for service in topology.services}
    return {"bindingReferences": names}
