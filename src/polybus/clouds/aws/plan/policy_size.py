"""How long the IAM policy of each service gets, beside what IAM allows.

A policy's length depends on the region, the partition and a customer-managed key, which a topology doesn't say. What is
too long even in the shortest form is refused; what is so in the longest alone is noted, and refused by the plan of a
stack that is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.plan.bodies import name as bucket_name
from polybus.clouds.aws.plan.rights import Arns, policies
from polybus.errors import UnsupportedFeature
from polybus.plan.findings import Finding, Report, Severity
from polybus.plan.later import Text
from polybus.plan.names import FIFO_SUFFIX, Names
from polybus.topology.model import Topology

__all__ = ["MOST", "hold", "rule"]

MOST = 6_144
"""Characters of a managed policy, white space not counted ("IAM and AWS STS quotas", IAM User Guide)."""

_ACCOUNT = "123456789012"
_SHORTEST = ("aws", "eu-west-1")
_LONGEST = ("aws-us-gov", "us-gov-west-1")  # the longest partition and region together that are open to customers
_KEY = f"arn:aws-us-gov:kms:us-gov-west-1:{_ACCOUNT}:key/00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class _Named(Arns):
    """ARNs as they will be, from physical names."""

    stack: str
    place: tuple[str, str]

    def topic(self, name: str) -> str:
        topic = self.topology.topics[name]
        return topic.existing or self._arn("sns", self._name(AWS.topic_name.length.most, name))

    def source(self, name: str) -> str:
        queue = self.topology.queues.get(name)
        return (queue.existing if queue else None) or self._arn("sqs", self._name(AWS.queue_name.length.most, name))

    def letters(self, name: str) -> str:
        names = Names(self.topology.name, self.stack, round(AWS.queue_name.length.most))
        return self._arn("sqs", names.dead_letters(name, suffix=self._suffix(name)))

    def bodies(self) -> str:
        partition, region = self.place
        return f"arn:{partition}:s3:::{bucket_name(self.topology, self.stack, account=_ACCOUNT, region=region)}"

    def _name(self, longest: float, name: str) -> str:
        return Names(self.topology.name, self.stack, round(longest)).of(name, suffix=self._suffix(name))

    def _suffix(self, name: str) -> str:
        return FIFO_SUFFIX if self.topology.is_ordered(name) else ""

    def _arn(self, service: str, name: str) -> str:
        partition, region = self.place
        return f"arn:{partition}:{service}:{region}:{_ACCOUNT}:{name}"


def rule(report: Report, topology: Topology, stack: str) -> None:
    """Refuse services whose policy is too long everywhere, and tell of those where it is somewhere."""
    least = _sizes(topology, stack, _SHORTEST, None)
    for name, most in _sizes(topology, stack, _LONGEST, _KEY).items():
        finding = _finding(name, least[name])
        if least[name] > MOST:
            report.findings.append(finding)
        elif most > MOST:
            found = f"an IAM policy of {least[name]:,} to {most:,} characters, by region and key"
            report.note(finding.path, found, finding.limit, source=finding.source, instead=finding.instead)


def hold(topology: Topology, stack: str, region: str | None, kms_key: Text | None) -> None:
    """Raise UnsupportedFeature where a service's policy is too long in this stack."""
    place = (_SHORTEST[0], region) if region else _SHORTEST
    # A key that isn't known yet is counted as the longest.
    sizes = _sizes(topology, stack, place, kms_key if kms_key is None or isinstance(kms_key, str) else _KEY)
    problems = [f"{topology.source}: {_finding(name, size)}" for name, size in sizes.items() if size > MOST]
    if problems:
        raise UnsupportedFeature("\n".join(problems))


def _finding(service: str, size: int) -> Finding:
    found, limit = f"an IAM policy of {size:,} characters", f"IAM allows {MOST:,}, white space not counted"
    instead = "two services, which may run as one role: a policy is of one service"
    return Finding(Severity.ERROR, "aws", f"$.services.{service}", found, limit, "k", instead)


def _sizes(topology: Topology, stack: str, place: tuple[str, str], kms_key: Text | None) -> Mapping[str, int]:
    documents = policies(topology, _Named(topology, stack, place), kms_key)
    return {name: len(json.dumps(document, separators=(",", ":"))) for name, document in documents.items()}
