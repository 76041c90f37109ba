"""Who may call a Cloud Run service that Pub/Sub pushes to: the service account that its pushes are signed for.

The address of a service says which one it is in the form `https://<service>-<project number>.<region>.run.app`, with or
without a traffic tag before it ("Cloud Run: deterministic URLs"); the older form, `https://<service>-<hash>-uc.a.run.app`,
doesn't say the region's name, so `check` says that the grant is yours to make.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from polybus.plan.later import Text, once
from polybus.plan.values import Resource

__all__ = ["INVOKER", "names_service", "resources", "service_of"]

INVOKER = "roles/run.invoker"

_ADDRESS = re.compile(
    r"https://(?:[a-z0-9-]+---)?(?P<service>[a-z](?:[a-z0-9-]*[a-z0-9])?)-(?P<number>[0-9]+)"
    r"\.(?P<region>[a-z]+-[a-z]+[0-9]+)\.run\.app(?:[/?].*)?"
)


def names_service(address: str) -> bool:
    """Tell whether an address says which Cloud Run service it is of, in which project and region."""
    return _ADDRESS.fullmatch(address) is not None


def service_of(address: object) -> tuple[str, str] | None:
    """Return the name and the region of the Cloud Run service that an address says; None where it says none."""
    found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
    return None if found is None else (found["service"], found["region"])


def resources(pushes: Iterable[tuple[str, Text]], account: Text | None) -> Iterator[Resource]:
    """Plan one grant a Cloud Run service; `pushes` has the entry and the address of each, `account` is an e-mail."""
    seen: set[str] = set()
    for entry, address in pushes:
        # What becomes known later can't say which resources there are.
        found = _ADDRESS.fullmatch(address) if isinstance(address, str) else None
        if found is None or account is None:
            continue
        service, number, region = found["service"], found["number"], found["region"]
        # The dots are in no name of a topology, so this is unique.
        logical = f"run.{number}.{region}.{service}-invoker"
        if logical in seen:
            continue
        seen.add(logical)
        # Cloud Run takes a project's number for its id ("projects.locations.services", Cloud Run Admin API v2).
        member = {"project": number, "location": region, "name": service, "role": INVOKER}
        type_ = "gcp:cloudrunv2/serviceIamMember:ServiceIamMember"
        given = {**member, "member": once(account, _member)}
        # The service is somebody else's, and another stack may push to it for the same account.
        yield Resource(type_, logical, given, "access", entry, stays=True)


def _member(account: str) -> str:
    return f"serviceAccount:{account}"
