"""What of Service Bus's resources breaks the rules that every stack keeps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from polybus.plan.policy_rules import Item, Policy, Properties

__all__ = ["POLICY"]

_NAMESPACE = "azure-native:servicebus:Namespace"
_QUEUE = "azure-native:servicebus:Queue"
_SUBSCRIPTION = "azure-native:servicebus:Subscription"


def _tls(type_: str, properties: Properties) -> Iterator[str]:
    if type_ == _NAMESPACE and properties.get("minimum_tls_version") not in ("1.2", "1.3"):
        yield f"minimum_tls_version is {properties.get('minimum_tls_version')!r}; allowed: 1.2, 1.3"


def _no_local_auth(type_: str, properties: Properties) -> Iterator[str]:
    if type_ == _NAMESPACE and properties.get("disable_local_auth") is not True:
        yield "connection strings work: set disable_local_auth"


def _public_access(type_: str, properties: Properties, declared: bool | None) -> Iterator[str]:
    if type_ == _NAMESPACE:
        found = properties.get("public_network_access")
        allowed = {None: ("Enabled", "Disabled"), True: ("Enabled",), False: ("Disabled",)}[declared]
        if found not in allowed:
            yield f"public_network_access is {found!r}; declared: {' or '.join(allowed)}"


def _dead_letters(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    for item in items:
        if item.type in (_SUBSCRIPTION, _QUEUE) and not item.properties.get("max_delivery_count"):
            yield item.name, "max_delivery_count isn't set: when a message is dead-lettered is left to a default"
        filters = item.properties.get("dead_lettering_on_filter_evaluation_exceptions")
        if item.type == _SUBSCRIPTION and filters is not True:
            yield item.name, "what its filter fails on is lost: set dead_lettering_on_filter_evaluation_exceptions"


def _bodies(items: Sequence[Item]) -> Iterator[tuple[str, str]]:
    """Look at accounts of polybus's alone: a program may have others, such as a website's."""
    for item in items:
        if item.type != "azure-native:storage:StorageAccount" or "polybus-bus" not in (
            item.properties.get("tags") or {}
        ):
            continue
        given = item.properties
        if given.get("allow_blob_public_access") is not False:
            yield item.name, "blobs may be made public: set allow_blob_public_access to false"
        if given.get("allow_shared_key_access") is not False:
            yield item.name, "keys of the account work: set allow_shared_key_access to false"
        if given.get("minimum_tls_version") != "TLS1_2" or given.get("enable_https_traffic_only") is not True:
            yield item.name, "old TLS, or none, is taken: set minimum_tls_version and enable_https_traffic_only"


POLICY = Policy(
    tls_only=_tls,
    no_local_auth=_no_local_auth,
    public_access=_public_access,
    dead_letters=_dead_letters,
    bodies=_bodies,
)
