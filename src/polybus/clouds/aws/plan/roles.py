"""The IAM roles that services run as: which of the ways to name one are, and what one role holds."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from polybus.clouds.aws.plan.place import account_of as owner_of
from polybus.errors import ConfigError
from polybus.plan.later import Text
from polybus.plan.values import is_mark
from polybus.topology.model import Topology

__all__ = ["MOST_POLICIES", "account_of", "hold", "name_of"]

MOST_POLICIES = 10
"""Managed policies of one role, unless the account asked for more ("IAM and AWS STS quotas", IAM User Guide)."""

_ALLOWED = "a role's name, or arn:aws:iam::<account>:role/<name>; no user, and no session of a role"
_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_ARN = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{1,12}):role/(?:[!-~]*/)?([\w+=,.@-]{1,64})", re.ASCII)


def name_of(role: str) -> str:
    """Give the name of a role, as policies are attached by it; raises ConfigError for what is no role."""
    if is_mark(role):
        return role  # of another tool's variable: what it will hold isn't here
    found = _ARN.fullmatch(role)
    if found is None and not _NAME.fullmatch(role):
        raise ConfigError(f"aws roles: found {role!r}; allowed: {_ALLOWED}")
    return found[2] if found else role


def account_of(role: str) -> str | None:
    """Give the account of a role; None where it is named without."""
    found = _ARN.fullmatch(role)
    return found[1] if found else None


def hold(topology: Topology, given: Mapping[str, Text]) -> None:
    """Raise ConfigError for what is no role, for roles of another account, and for more policies than one role takes.

    A policy is attached by the role's name, so a role of another account would be whichever bears that name here.
    """
    roles = {service: role for service, role in given.items() if isinstance(role, str) and not is_mark(role)}
    for service, role in roles.items():
        if not _ARN.fullmatch(role) and not _NAME.fullmatch(role):
            raise ConfigError(f"aws roles.{service}: found {role!r}; allowed: {_ALLOWED}")
    _hold_account(topology, roles)
    for name, count in Counter(name_of(role) for role in roles.values()).items():
        if count > MOST_POLICIES:
            services = ", ".join(service for service, role in roles.items() if name_of(role) == name)
            raise ConfigError(
                f"aws roles: found {count} services that run as {name}: {services}; IAM attaches {MOST_POLICIES} "
                "policies to a role; instead: one service with the rights of several, or two roles"
            )


def _hold_account(topology: Topology, roles: Mapping[str, str]) -> None:
    first: tuple[str, str] | None = None
    for place, account, why in _accounts(topology, roles):
        if first is not None and account != first[1]:
            raise ConfigError(f"{place}: found one of account {account}; {first[0]} is in {first[1]}, and {why}")
        first = first or (place, account)


def _accounts(topology: Topology, roles: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Give the place of everything that has to be in the stack's own account, that account, and why."""
    for service, role in roles.items():
        account = account_of(role)
        if account is not None:
            yield f"aws roles.{service}", account, "a policy can be attached to roles of the stack's own account alone"
    for queue in topology.queues.values():
        account = None if queue.existing is None else owner_of(queue.existing)
        if account is not None:
            place = f"{topology.source}: at $.queues.{queue.name}.existing: aws"
            yield place, account, "SQS lets no other account set a queue's redrive policy"
