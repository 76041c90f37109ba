"""The one action of STS that SDKs and tools ask for first: who am I?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.localcloud.aws.call import Call
from polybus.localcloud.aws.params import Params
from polybus.localcloud.aws.policy.document import Policy
from polybus.localcloud.aws.services import Action

__all__ = ["StsService"]


class StsService:
    """The actions of STS."""

    def __init__(self, account: str) -> None:
        self._account = account
        self.actions: dict[str, Action] = {"GetCallerIdentity": self.get_caller_identity}

    def load(self) -> None:
        """There is nothing to bring back."""

    def get_caller_identity(self, call: Call, params: Params) -> dict[str, Any]:
        user = call.access_key if "/" in call.principal else self._account
        return {"Arn": call.principal, "UserId": user, "Account": self._account}

    def subject(self, call: Call, params: Params) -> tuple[str, str, Policy | None]:
        """Return the right that `call` needs, the ARN it is about, and that resource's policy."""
        return f"sts:{call.action}", "*", None

    def context(self, call: Call, params: Params) -> Mapping[str, str]:
        """Return the service's own condition keys: none."""
        return {}
