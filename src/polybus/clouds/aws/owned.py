"""Whose the queues and roles of a stack are: asked of AWS before the first of them is made.

SQS answers CreateQueue for a queue that is there, whoever made it: two stacks would share it, and the end of one would
take the other's messages.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from polybus.clouds.aws.plan.place import account_of as owner_of
from polybus.clouds.aws.plan.roles import account_of
from polybus.errors import ConfigError

if TYPE_CHECKING:
    from polybus.clouds.aws.plan.resources import AwsPlan

__all__ = ["guard"]

_QUEUE = "aws:sqs/queue:Queue"


def guard(plan: AwsPlan) -> Generator[Sequence[tuple[str, Mapping[str, Any]]], Sequence[Any], None]:
    """Refuse queues that are there as another stack's, and roles and adopted queues of another account.

    What nobody answers is nobody's: in a program's own tests, under Pulumi's mocks, an answer is empty.
    Topics need no question: SNS itself refuses one that is there with other tags.
    """
    yield from _accounts(plan)
    yield from _queues(plan)


def _queues(plan: AwsPlan) -> Generator[Sequence[tuple[str, Mapping[str, Any]]], Sequence[Any], None]:
    places = {item.properties["name"]: item.entry for item in plan.resources if item.type == _QUEUE}
    if not places:
        return
    [found] = yield [("aws:sqs/getQueues:getQueues", {"queue_name_prefix": _shared(places)})]
    # A program under test may have mocks that answer nothing.
    there = {url.rsplit("/", 1)[-1] for url in found.queue_urls or ()}
    names = [name for name in places if name in there]
    answers = yield [("aws:sqs/getQueue:getQueue", {"name": name}) for name in names]
    for name, queue in zip(names, answers, strict=True):
        whose = _stack_of(queue.tags or {})
        if whose is not None and whose != (plan.topology.name, plan.settings.stack):
            ours = _words(plan.topology.name, plan.settings.stack)
            raise ConfigError(
                f"{plan.topology.source}: at {places[name]}: aws: found the queue {name} of {_words(*whose)}; this is "
                f"{ours}, and who shares a queue loses its messages to the other; instead: another name, or "
                "existing = <its ARN>"
            )


def _shared(names: Collection[str]) -> str:
    """Give what all names begin with, so that no others are listed."""
    first, last = min(names), max(names)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in same)


def _stack_of(tags: Mapping[str, str]) -> tuple[str, str] | None:
    """Read which bus and stack something is of; None where it bears no such tag, as what is about to be imported."""
    bus = tags.get("polybus-bus")
    return None if bus is None else (bus, tags.get("polybus-stack", ""))


def _words(bus: str, stack: str) -> str:
    return f"the bus {bus} in the stack {stack}" if stack else f"the bus {bus}"


def _accounts(plan: AwsPlan) -> Generator[Sequence[tuple[str, Mapping[str, Any]]], Sequence[Any], None]:
    """Ask for the account only where something names one that it has to be."""
    roles = {name: role for name, role in plan.settings.roles.items() if isinstance(role, str)}
    named = [(f"aws roles.{name}", account_of(role)) for name, role in roles.items()]
    for queue in plan.topology.queues.values():
        if queue.existing is not None:
            place = f"{plan.topology.source}: at $.queues.{queue.name}.existing: aws"
            named.append((place, owner_of(queue.existing)))
    if all(account is None for _, account in named):
        return
    [caller] = yield [("aws:index/getCallerIdentity:getCallerIdentity", {})]
    for place, account in named:
        if caller.account_id and account not in (None, caller.account_id):
            raise ConfigError(f"{place}: found one of the account {account}; the stack is made in {caller.account_id}")
