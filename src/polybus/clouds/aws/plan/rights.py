"""What each service may do on AWS: one IAM policy document a service, with exactly what it declared.

Nobody may create, change or delete an entity, and no statement that allows has a wildcard. Source of the actions:
"Actions, resources, and condition keys" for Amazon SNS and Amazon SQS, Service Authorization Reference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from polybus.clouds.aws.plan import bodies as aws_bodies
from polybus.clouds.aws.plan.allow import key_statements
from polybus.clouds.aws.plan.place import account_of, domain
from polybus.plan import bodies
from polybus.plan.later import Text, once
from polybus.plan.values import Ref
from polybus.topology.model import Service, Topology

__all__ = ["Arns", "insecure", "key_policy", "policies"]

_RECEIVE = ("sqs:ChangeMessageVisibility", "sqs:DeleteMessage", "sqs:ReceiveMessage")
_STATS = ("sqs:GetQueueAttributes",)
# What scales or drives a consumer counts what waits, by the consumer's role: Lambda's event source mappings
# (AWSLambdaSQSQueueExecutionRole has the same four actions), KEDA.
_CONSUME = tuple(sorted((*_RECEIVE, *_STATS)))
_PURGE = ("sqs:PurgeQueue",)
_KEY = ("kms:Decrypt", "kms:GenerateDataKey")


@dataclass(frozen=True, slots=True)
class Arns:
    """Where the ARNs of a topology's entries come from: the resource, or the entry that is adopted."""

    topology: Topology

    def topic(self, name: str) -> str | Ref:
        return self.topology.topics[name].existing or Ref(f"{name}-topic", "arn")

    def source(self, name: str) -> str | Ref:
        queue = self.topology.queues.get(name)
        return (queue.existing if queue else None) or Ref(f"{name}-queue", "arn")

    def letters(self, name: str) -> str | Ref:
        return Ref(f"{name}-dead-letters", "arn")

    def bodies(self) -> str | Ref:
        """Give that of the bucket of large bodies."""
        return aws_bodies.arn()

    def is_push(self, name: str) -> bool:
        subscription = self.topology.subscriptions.get(name)
        return subscription is not None and subscription.push is not None


def policies(topology: Topology, arns: Arns, kms_key: Text | None) -> dict[str, Mapping[str, Any]]:
    """Give the IAM policy document of every service that has rights at all."""
    documents: dict[str, Mapping[str, Any]] = {}
    for service in topology.services.values():
        statements = [*_statements(topology, arns, service), *_keys(topology, service, kms_key)]
        if statements:
            documents[service.name] = {"Version": "2012-10-17", "Statement": statements}
    return documents


def key_policy(topology: Topology, arns: Arns, kms_key: Text | None) -> Mapping[str, Any] | None:
    """Give what the policy of a customer-managed key has to allow beside IAM; None without a key.

    SNS encrypts for the queues that it sends to, and CloudWatch for the topic of alarms, each as its own principal
    ("Key management" in the SNS and SQS guides). The key is not the stack's, so the statements are for who owns it.
    They name the account and no single topics: what is declared later needs no second change of the key.
    """
    if kms_key is None:
        return None
    accounts = _accounts(topology, kms_key)
    statements = [_key_user("AllowTopics", "sns.amazonaws.com", kms_key, accounts)]
    if topology.alarms is not None and topology.alarms.notify.email is not None:
        own: list[str | Ref] = [Ref("bus.alarms-topic", "owner")]
        statements.append(_key_user("AllowAlarms", "cloudwatch.amazonaws.com", kms_key, own))
    return {"Version": "2012-10-17", "Statement": [*statements, *key_statements(topology, kms_key)]}


def _accounts(topology: Topology, kms_key: Text) -> list[Any]:
    """List the accounts whose topics send: the stack's, and those of adopted ones; the key's while there are none."""
    made = [topic.name for topic in topology.topics.values() if topic.existing is None]
    own: list[str | Ref] = [Ref(f"{name}-topic", "owner") for name in made[:1]]
    adopted = [account_of(topic.existing) for topic in topology.topics.values() if topic.existing is not None]
    known = dict.fromkeys(account for account in adopted if account is not None)
    return [*own, *known] or [once(kms_key, _account)]


def insecure(action: str, arn: str | Ref | list[Any]) -> dict[str, Any]:
    """Refuse what comes without TLS, whoever sends it; a Deny gives no rights, so it may name everyone."""
    return {
        "Sid": "RefuseInsecureTransport",
        "Effect": "Deny",
        "Principal": "*",
        "Action": action,
        "Resource": arn,
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }


def _account(arn: str) -> str:
    return arn.split(":")[4]


def _key_user(sid: str, service: str, kms_key: Text, accounts: Sequence[Any]) -> dict[str, Any]:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": list(_KEY),
        "Resource": kms_key,
        "Condition": {"StringEquals": {"aws:SourceAccount": accounts[0] if len(accounts) == 1 else list(accounts)}},
    }


def _statements(topology: Topology, arns: Arns, service: Service) -> Iterator[dict[str, Any]]:
    topics = [arns.topic(name) for name in service.publishes if name in topology.topics]
    queues = [arns.source(name) for name in service.publishes if name in topology.queues]
    yield from _allow("Publish", ("sns:Publish",), topics)
    yield from _allow("Send", ("sqs:SendMessage",), queues)
    yield from _allow("Consume", _CONSUME, [arns.source(name) for name in service.consumes])
    yield from _allow("DeadLetter", ("sqs:SendMessage",), [arns.letters(name) for name in service.consumes])
    sources = [arns.source(name) for name in service.operates if not arns.is_push(name)]
    letters = [arns.letters(name) for name in service.operates]
    yield from _allow("Watch", _STATS, sources)
    yield from _allow("ReturnDeadLetters", ("sqs:SendMessage",), sources)
    # Who consumes there may empty it message by message; for anyone else a purge would be a right to lose what waits.
    purged = [arns.source(name) for name in service.operates if name in service.consumes]
    yield from _allow("Purge", _PURGE, purged)
    yield from _allow("OperateDeadLetters", tuple(sorted((*_RECEIVE, *_STATS, *_PURGE))), letters)
    yield from aws_bodies.statements(topology, service, arns.bodies())


def _allow(sid: str, actions: tuple[str, ...], resources: list[str | Ref]) -> Iterator[dict[str, Any]]:
    if resources:
        yield {"Sid": sid, "Effect": "Allow", "Action": list(actions), "Resource": list(resources)}


def _keys(topology: Topology, service: Service, kms_key: Text | None) -> Iterator[dict[str, Any]]:
    """Allow the use of a customer-managed key: senders need both rights ("Key management" in the SQS guide).

    Only by way of SNS and SQS, and of S3 for large bodies: whatever else the key encrypts, the service may not read.
    """
    if kms_key is None:
        return
    beside = topology.large_bodies is not None and (bodies.puts(service) or bodies.gets(topology, service))
    if beside or service.publishes or service.consumes or service.operates:
        statement = {"Sid": "UseKey", "Effect": "Allow", "Action": list(_KEY), "Resource": [kms_key]}
        services = ("sns", "sqs", *(("s3",) if beside else ()))
        yield {**statement, "Condition": {"StringEquals": {"kms:ViaService": once(kms_key, partial(_via, services))}}}


def _via(services: Sequence[str], kms_key: str) -> list[str]:
    """Name services as KMS knows them in the key's region ("kms:ViaService", AWS KMS Developer Guide)."""
    partition, region = kms_key.split(":")[1], kms_key.split(":")[3]
    return [f"{service}.{region}.{domain(partition)}" for service in services]
