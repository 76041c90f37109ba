"""What of a stack's configuration Google would refuse in the middle of an update, found before the first resource."""

from __future__ import annotations

import re
from collections.abc import Iterator

from polybus.clouds.gcp.plan.settings import GcpSettings
from polybus.plan.settings import Mistake

__all__ = ["mistakes"]

_EMAIL = re.compile(r"[^\s:@/]+@[^\s:@/]+")
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?")
# Members of a policy ("Principal identifiers", IAM documentation); everybody is nobody's service.
_MEMBER = re.compile(r"(?:serviceAccount|user|group|domain):\S+|(?:principal|principalSet)://\S+")


def mistakes(settings: GcpSettings) -> Iterator[Mistake]:
    """Give everything that is wrong by itself, whatever the topology is."""
    for name, given in settings.members.items():
        member = str(given)
        if not _MEMBER.fullmatch(member):
            near = f"serviceAccount:{member}" if _EMAIL.fullmatch(member) else "serviceAccount:<email>"
            allowed = f"a member of IAM with its kind before it, such as {near}"
            yield Mistake(f"members.{name}", member, allowed)
    account = None if settings.push_account is None else str(settings.push_account)
    if account is not None and not _EMAIL.fullmatch(account):
        near = account.rpartition(":")[2]
        example = (
            f": {near}" if near != account and _EMAIL.fullmatch(near) else ", <name>@<project>.iam.gserviceaccount.com"
        )
        yield Mistake("pushAccount", account, f"the e-mail of a service account alone{example}")
    if settings.endpoint is not None and not _HOST.fullmatch(settings.endpoint):
        allowed = "HOST or HOST:PORT, such as europe-west1-pubsub.googleapis.com, without scheme or path"
        yield Mistake("endpoint", settings.endpoint, allowed)
    if settings.elsewhere and not settings.service_identity:
        allowed = "true: in another universe only Google says what its service agents are called"
        yield Mistake("serviceIdentity", False, allowed)
    number = None if settings.project_number is None else str(settings.project_number)
    if number is not None and not re.fullmatch(r"[0-9]+", number):
        allowed = "the project's number, digits alone, as `gcloud projects describe <id>` shows it"
        yield Mistake("projectNumber", number, allowed)
