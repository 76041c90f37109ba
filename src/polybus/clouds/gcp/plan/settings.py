"""What a stack's configuration says of a bus on Google Cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from polybus.plan.later import Text
from polybus.plan.settings import NOTHING

__all__ = ["GcpSettings"]

_PUBLIC = "googleapis.com"


@dataclass(frozen=True, slots=True)
class GcpSettings:
    """What the stack config says.

    `project` of None means the provider's own. `project_number` saves a look-up of it. `regions` are where messages may
    be stored; of a single one, services use the regional endpoint. `endpoint` is another of Google's for them, as HOST
    or HOST:PORT. `universe_domain` is the provider's own setting, None in Google's public cloud. `service_identity` of
    False leaves it to others to have Google make the Pub/Sub service agent. `kms_key` is the resource name of a
    customer-managed key. `members` says who each service is, as `serviceAccount:<email>`; `push_account` is the e-mail
    of the service account that push requests are signed for.

    In a Pulumi program the project's number, the key, the account, the members and the functions may be outputs. The
    right to call a Cloud Run service whose address is one is yours to give, since the address says which service it is.
    `bindings` says where each service's binding is put, beside the outputs. `bodies_location` is where large bodies are
    stored, as Cloud Storage names locations; None is the first of the regions.
    """

    stack: str = ""
    project: str | None = None
    project_number: Text | None = None
    regions: tuple[str, ...] = ()
    endpoint: str | None = None
    universe_domain: str | None = None
    service_identity: bool = True
    kms_key: Text | None = None
    push_account: Text | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    members: Mapping[str, Text] = field(default_factory=lambda: NOTHING)
    functions: Mapping[str, Text] = field(default_factory=lambda: NOTHING)
    bindings: Literal["secretmanager"] | None = None
    bodies_location: str | None = None

    @property
    def elsewhere(self) -> bool:
        """Whether it is in another universe than Google's public cloud: service agents have other names there."""
        return self.universe_domain not in (None, _PUBLIC)

    @property
    def api_endpoint(self) -> str | None:
        """Give where services reach Pub/Sub, None for its usual place.

        Pub/Sub keeps the order of a key only if it is published in one region: by the global endpoint that is where the
        publisher happens to be. Where messages may be in one region alone, the others couldn't store them anyway.
        """
        if self.endpoint is not None or len(self.regions) != 1:
            return self.endpoint
        return f"{self.regions[0]}-pubsub.{self.universe_domain or _PUBLIC}"
