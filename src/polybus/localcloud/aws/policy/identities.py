"""What each access key may do, and the answer to one request from identity and resource policies together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from polybus.localcloud.aws.errors import AwsError
from polybus.localcloud.aws.policy.document import Policy, Request

__all__ = ["Identities", "authorise"]


class Identities:
    """Identity policies by access key. A key without one may do everything, as an account's root may.

    `known`, when it is set, refuses every other access key. Not kept over a restart; callable from any thread.
    """

    def __init__(self, account: str) -> None:
        self._account = account
        self._policies: dict[str, Policy] = {}
        self.known: frozenset[str] | None = None

    def put(self, access_key: str, policy: Mapping[str, Any]) -> None:
        """Give `access_key` the rights of `policy` and no others; raises PolicyError for a bad document."""
        self._policies[access_key] = Policy.parse(policy, principals=False)

    def remove(self, access_key: str) -> None:
        """Give `access_key` every right again."""
        self._policies.pop(access_key, None)

    def policy(self, access_key: str) -> Policy | None:
        """Return the key's policy, None where it may do everything; raises AwsError for a key that isn't known."""
        if self.known is not None and access_key not in self.known:
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        return self._policies.get(access_key)

    def arn(self, access_key: str) -> str:
        """Return the principal behind `access_key`: a user of that name, or the account's root."""
        return f"arn:aws:iam::{self._account}:" + (f"user/{access_key}" if access_key in self._policies else "root")


def authorise(identity: Policy | None, resource: Policy | None, request: Request) -> str | None:
    """Return None where `request` is allowed, else why not, in AWS's words.

    Within one account either policy may allow; a Deny in either ends it.
    """
    by_identity = True if identity is None else identity.verdict(request)
    by_resource = None if resource is None else resource.verdict(request)
    if by_identity and by_resource is not False:
        return None
    if by_identity is False:
        why = "with an explicit deny in an identity-based policy"
    elif by_resource is False:
        why = "with an explicit deny in a resource-based policy"
    elif by_resource:
        return None
    else:
        why = f"because no identity-based policy allows the {request.action} action"
    refused = f"is not authorized to perform: {request.action} on resource: {request.resource}"
    return f"User: {request.principal} {refused} {why}"
