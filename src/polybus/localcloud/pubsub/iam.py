"""Policies on single resources, and the one right that is enforced: the Pub/Sub service agent's, for dead letters.

Google forwards dead letters as its own service agent, service-NUMBER@gcp-sa-pubsub.iam.gserviceaccount.com. Where that
may not publish to the dead-letter topic, or not consume from the source subscription, nothing is forwarded.
Source: https://cloud.google.com/pubsub/docs/handling-failures#grant_forwarding_permissions
"""

from __future__ import annotations

import re
import secrets

import grpc

from polybus.localcloud.pubsub.journal import MessageJournal
from polybus.localcloud.pubsub.protocol import Policy, Proto, copy
from polybus.localcloud.pubsub.refusal import Refused, invalid, unimplemented

__all__ = ["Policies"]

_AGENT = re.compile(r"serviceAccount:service-\w+@gcp-sa-pubsub\.iam\.gserviceaccount\.com")
_EVERYONE = frozenset({"allUsers", "allAuthenticatedUsers"})
_ALL_RIGHTS = frozenset({"roles/pubsub.editor", "roles/pubsub.admin", "roles/editor", "roles/owner"})
_PUBLISH = _ALL_RIGHTS | {"roles/pubsub.publisher"}
_CONSUME = _ALL_RIGHTS | {"roles/pubsub.subscriber"}
_ROLE = re.compile(r"(roles|projects/[^/]+/roles|organizations/[^/]+/roles)/[A-Za-z0-9_.]+")
_MEMBER = re.compile(r"allUsers|allAuthenticatedUsers|[A-Za-z]+:\S+")
_TABLE = "policy"


class Policies:
    """The policy of each topic, subscription, snapshot and schema that was given one, by resource name."""

    def __init__(self, journal: MessageJournal, enforce: bool) -> None:
        self._journal = journal
        self._enforce = enforce
        self._policies: dict[str, Proto] = {}

    def load(self) -> None:
        for name, row in self._journal.rows(_TABLE):
            self._policies[name] = Policy.FromString(row)

    def get(self, name: str) -> Proto:
        """Return the resource's policy; an empty one where none was set."""
        # Google answers an unset policy with this etag.
        return self._policies.get(name) or Policy(version=1, etag=b"\x00\x20\x01")

    def put(self, name: str, proposed: Proto) -> Proto:
        """Replace the resource's policy and return it; ABORTED where it was changed since the caller read it."""
        for binding in proposed.bindings:
            if binding.HasField("condition"):
                raise unimplemented("conditions in IAM policies")
            if not _ROLE.fullmatch(binding.role):
                raise invalid(f"Role {binding.role} is not supported for this resource.")
            for member in binding.members:
                if not _MEMBER.fullmatch(member):
                    raise invalid(f"Invalid member in the policy: {member}.")
        if proposed.etag and proposed.etag != self.get(name).etag:
            raise Refused(
                grpc.StatusCode.ABORTED,
                "There were concurrent policy changes. Please retry the whole read-modify-write with exponential "
                "backoff.",
            )
        policy = copy(proposed)
        policy.etag = secrets.token_bytes(8)
        self._policies[name] = policy
        self._journal.save(_TABLE, name, policy.SerializeToString())
        return policy

    def drop(self, name: str) -> None:
        """Forget the policy of a resource that is gone."""
        if self._policies.pop(name, None) is not None:
            self._journal.drop(_TABLE, name)

    def forwards(self, subscription: str, dead_letter_topic: str) -> bool:
        """Say whether the service agent has both grants that dead-letter forwarding takes."""
        if not self._enforce:
            return True
        return self._agent_has(dead_letter_topic, _PUBLISH) and self._agent_has(subscription, _CONSUME)

    def _agent_has(self, name: str, roles: frozenset[str]) -> bool:
        return any(
            binding.role in roles and any(member in _EVERYONE or _AGENT.fullmatch(member) for member in binding.members)
            for binding in self.get(name).bindings
        )
