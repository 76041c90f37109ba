"""The Cloud Storage bucket that large bodies of a bus are in, and what each service may do there.

One bucket is one bus's in one stack. Public access is prevented, rights are IAM's alone, and its lifecycle deletes
objects by age. Google takes nothing without TLS. Sources: "Bucket naming guidelines", "IAM roles for Cloud Storage",
"Object Lifecycle Management" and "Customer-managed encryption keys", Cloud Storage documentation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from polybus.clouds.gcp.plan.settings import GcpSettings
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.plan import bodies
from polybus.plan.entitled import Right
from polybus.plan.findings import Report
from polybus.plan.grants import merged
from polybus.plan.later import Text, spelled
from polybus.plan.names import host_name, short_hash
from polybus.plan.rules import name as hold_name
from polybus.plan.values import Join, Ref, Resource, joined
from polybus.topology.limits import NameRule, Range
from polybus.topology.model import Service, Topology

__all__ = ["BUCKET", "NAME", "STAND_IN", "URL", "hold", "members", "resources", "rights", "rule"]

BUCKET: Final = Ref("bus.bodies-bucket", "name")
"""The bucket's name once it is there. No entry has a dot in its name, so no resource of one is called so."""

URL: Final = Join(("gs://", BUCKET))

STAND_IN: Final = "<bodiesLocation>"
"""Where a bucket is as long as nobody says it, to be shown."""

NAME: Final = NameRule(
    Range(3, 63, "k"),
    r"(?!goog)(?!.*g[o0][o0]g[l1]e)[a-z0-9][a-z0-9-]*[a-z0-9]",
    "3 to 63 of a-z 0-9 -, not beginning with goog and without google in it",
    "k",
)

# A bucket's name is one of the world's, so it has the project's number in it, of 12 digits today and room for more.
_LONGEST = 63 - len("-1234567890123456")

_AGENT: Final = Ref("bus.storage-agent", "email_address")
_KEY_USER = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
_KEY_GRANT = "bus.bodies-key-agent"

# Creating has no right to overwrite or to list. Viewing has one to list, which the condition takes away: a list is of a
# bucket, whose name doesn't begin as an object's.
_CREATOR, _VIEWER = "roles/storage.objectCreator", "roles/storage.objectViewer"

# The names of locations that keys have, where buckets have others.
_OF_KEYS: Mapping[str, str] = {"europe": "eu"}


def rule(report: Report, topology: Topology, stack: str) -> None:
    """Refuse a bus whose bucket Cloud Storage would refuse by its name."""
    if topology.large_bodies is not None:
        hold_name(report, "$.bus", f"{_named(topology, stack)}-123456789012", NAME)


def _named(topology: Topology, stack: str) -> str:
    return host_name(topology.name, stack, bodies.KIND, longest=_LONGEST)


def hold(topology: Topology, settings: GcpSettings) -> None:
    """Raise ConfigError where a stack's configuration doesn't say where the bucket is, or says two places."""
    if topology.large_bodies is None:
        return
    where = f"{topology.source}: at {bodies.ENTRY}: gcp"
    if settings.elsewhere:
        instead = "polybus.blobs.Blobs(place) in code"
        raise UnsupportedFeature(
            f"{where}: they are reached at storage.googleapis.com alone, and this stack is in "
            f"{settings.universe_domain}; instead: {instead}"
        )
    location = _location(settings)
    if not location:
        raise ConfigError(
            f"{where}: nothing says where the bucket is; set bodiesLocation, such as europe-west1 or EU, or regions, "
            "of which it is in the first"
        )
    key = settings.kms_key
    if isinstance(key, str) and location != STAND_IN:
        of_key = key.split("/")[3].lower()
        if _OF_KEYS.get(of_key, of_key) != location.lower():
            raise ConfigError(
                f"{where}: the bucket is in {location}, and kmsKey in {of_key}; Cloud Storage takes keys of the "
                "bucket's own location: set bodiesLocation, or another key"
            )


def _location(settings: GcpSettings) -> str:
    return settings.bodies_location or next(iter(settings.regions), "")


def resources(
    topology: Topology, settings: GcpSettings, number: Text | Ref, inside: Mapping[str, Any], labels: Mapping[str, str]
) -> Iterator[Resource]:
    """Plan the bucket, with the right of Cloud Storage's own account to a key; `number` is the project's."""
    if topology.large_bodies is None:
        return
    key = settings.kms_key
    after: tuple[str, ...] = ()
    if key is not None:
        yield from _key_user(key, inside)
        after = (_KEY_GRANT,)
    begins: Any = (f"{_named(topology, settings.stack)}-", number)
    properties = {
        "name": joined(*begins) if isinstance(number, (str, Ref)) else Join(begins),
        **inside,
        "location": _location(settings),
        "labels": dict(labels),
        "uniform_bucket_level_access": True,
        "public_access_prevention": "enforced",
        "soft_delete_policy": {"retention_duration_seconds": 0},  # what has reached its age is gone
        "encryption": None if key is None else {"default_kms_key_name": key},
        "lifecycle_rules": [
            {
                "action": {"type": "Delete"},
                "condition": {"age": bodies.days(topology), "matches_prefixes": [bodies.prefix(topology)]},
            },
            # An upload that was never finished is no object, and has no age that the other would go by.
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": 1}},
        ],
    }
    type_ = "gcp:storage/bucket:Bucket"
    yield Resource(type_, BUCKET.resource, properties, bodies.KIND, bodies.ENTRY, after, keeps_messages=True)


def _key_user(key: Text, inside: Mapping[str, Any]) -> Iterator[Resource]:
    """Plan the right to a key of the account by which Cloud Storage encrypts, which asking for it makes."""
    asked = "gcp:storage/getProjectServiceAccount:getProjectServiceAccount"
    yield Resource(asked, _AGENT.resource, inside, "lookup", bodies.ENTRY)
    given = {"crypto_key_id": key, "role": _KEY_USER, "member": Join(("serviceAccount:", _AGENT))}
    # Other buckets of the project may use the key.
    type_ = "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember"
    yield Resource(type_, _KEY_GRANT, given, "access", bodies.ENTRY, stays=True)


def rights(topology: Topology, service: Service) -> tuple[Right, ...]:
    """Give what a service may do with bodies."""
    return tuple(Right((role,), (Join((BUCKET, f"/{bodies.prefix(topology)}")),)) for role in _roles(topology, service))


def members(topology: Topology, given: Mapping[str, Text]) -> Iterator[Resource]:
    """Plan the rights of every service whose member the stack config names, each once."""
    asked = (
        ((member, role), f"$.services.{name}")
        for name, member in given.items()
        for role in _roles(topology, topology.services[name])
    )
    begins = f"/objects/{bodies.prefix(topology)}"
    inside = Join(('resource.name.startsWith("projects/_/buckets/', BUCKET, f'{begins}")'))
    for (member, role), entry in merged(asked).items():
        properties = {
            "bucket": BUCKET,
            "role": role,
            "member": member,
            "condition": {"title": "large bodies", "expression": inside},
        }
        logical = f"{_short(member)}.bodies-{role.rpartition('.')[2]}"
        yield Resource("gcp:storage/bucketIAMMember:BucketIAMMember", logical, properties, "rights", entry)


def _roles(topology: Topology, service: Service) -> Iterator[str]:
    if topology.large_bodies is None:
        return
    if bodies.puts(service):
        yield _CREATOR
    if bodies.gets(topology, service):
        yield _VIEWER


def _short(member: Text) -> str:
    return f"m-{short_hash(member)}" if isinstance(member, str) else spelled(member)
