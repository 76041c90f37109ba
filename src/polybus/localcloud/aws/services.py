"""What the HTTP side knows of a service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.policy.document import Policy

__all__ = ["Action", "Service"]

Action = Callable[[Call, Params], dict[str, Any] | Awaitable[dict[str, Any]]]


class Service(Protocol):
    """One AWS service: pure semantics, no protocol."""

    @property
    def actions(self) -> Mapping[str, Action]:
        """Its actions by name; each takes parameters in the shape of the JSON protocol, or raises AwsError."""

    def load(self) -> None:
        """Bring back what was kept; called once, before the first request."""

    def subject(self, call: Call, params: Params) -> tuple[str, str, Policy | None]:
        """Return the right that `call` needs, the ARN it is about, and that resource's policy."""

    def context(self, call: Call, params: Params) -> Mapping[str, str]:
        """Return the service's own condition keys, in lower case."""
