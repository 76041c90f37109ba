"""The rules that clouds share: what differs between them is in their limits."""

from __future__ import annotations

import re

from polybus.plan.findings import Report
from polybus.topology.limits import NET_ATTEMPTS, CloudLimits, Count, NameRule, Range
from polybus.topology.model import Alarms, Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration, format_size

__all__ = [
    "attempts",
    "consumed",
    "dead_letter_retention",
    "lease",
    "message_size",
    "name",
    "net_attempts",
    "notify",
    "path_of",
    "published",
    "retention",
    "subscriptions_of_topics",
    "within",
]


def path_of(entry: Topic | Subscription | Queue) -> str:
    """Give the place of an entry in the topology."""
    sections: dict[type, str] = {Topic: "topics", Subscription: "subscriptions", Queue: "queues"}
    return f"$.{sections[type(entry)]}.{entry.name}"


def published(topology: Topology) -> tuple[Topic | Queue, ...]:
    """List what has publishers: topics, then queues."""
    return (*topology.topics.values(), *topology.queues.values())


def consumed(topology: Topology) -> tuple[Subscription | Queue, ...]:
    """List what has consumers: subscriptions, then queues."""
    return (*topology.subscriptions.values(), *topology.queues.values())


def net_attempts(limits: CloudLimits, max_attempts: int) -> int:
    """Give the cloud's own delivery limit: the net under the bus's (contract, D6)."""
    return round(limits.attempts.clamp(max_attempts + NET_ATTEMPTS))


def name(report: Report, path: str, physical: str, rule: NameRule) -> None:
    """Refuse an entry whose physical name the cloud doesn't accept."""
    if not rule.accepts(physical):
        report.error(path, f"the physical name {physical!r}", f"allowed: {rule.allowed}", source=rule.source)


def within(report: Report, path: str, seconds: float, allowed: Range) -> None:
    """Refuse a duration outside the cloud's range."""
    if seconds not in allowed:
        limit = f"allowed: {format_duration(allowed.least)} to {format_duration(allowed.most)}"
        nearest = format_duration(allowed.clamp(seconds))
        report.error(path, format_duration(seconds), limit, source=allowed.source, instead=f'"{nearest}"')


def lease(report: Report, entry: Subscription | Queue, limits: CloudLimits) -> None:
    """Refuse a lease that is too short; one that is too long is met by extending it."""
    path = f"{path_of(entry)}.lease"
    if entry.lease <= limits.lease.most:
        within(report, path, entry.lease, limits.lease)
        return
    most = format_duration(limits.lease.most)
    limit = f"a lease is at most {most} here: it is granted for {most} and extended while the consumer lives"
    report.note(path, format_duration(entry.lease), limit, source=limits.lease.source)


def retention(report: Report, entry: Subscription | Queue, limits: CloudLimits) -> None:
    within(report, f"{path_of(entry)}.retention", entry.retention, limits.retention)


def dead_letter_retention(report: Report, entry: Subscription | Queue, limits: CloudLimits) -> None:
    if limits.dead_letter_retention is not None:
        path = f"{path_of(entry)}.dead_letter_retention"
        within(report, path, entry.dead_letter_retention, limits.dead_letter_retention)


def attempts(report: Report, entry: Subscription | Queue, limits: CloudLimits) -> None:
    """Refuse a number of attempts that the cloud's own limit would cut short; tell where the net is narrower."""
    path = f"{path_of(entry)}.max_attempts"
    most = round(limits.attempts.most)
    if isinstance(entry, Subscription) and entry.push is not None:
        _push_attempts(report, path, entry, limits)
    elif entry.max_attempts >= most:
        limit = f"the cloud itself gives up at {most} deliveries"
        report.error(path, str(entry.max_attempts), limit, source=limits.attempts.source, instead=str(most - 1))
    elif entry.max_attempts + NET_ATTEMPTS > most:
        limit = (
            f"the cloud itself gives up at {most} deliveries, so a crashing consumer has fewer than {NET_ATTEMPTS} more"
        )
        report.note(path, str(entry.max_attempts), limit, source=limits.attempts.source)


def _push_attempts(report: Report, path: str, entry: Subscription, limits: CloudLimits) -> None:
    if entry.max_attempts not in limits.attempts:
        least, most = round(limits.attempts.least), round(limits.attempts.most)
        nearest = str(round(limits.attempts.clamp(entry.max_attempts)))
        limit = f"a push subscription has the cloud's own limit: {least} to {most}"
        report.error(path, str(entry.max_attempts), limit, source=limits.attempts.source, instead=nearest)


def message_size(report: Report, path: str, size: int | None, allowed: Range) -> None:
    if size is not None and size > allowed.most:
        limit = f"allowed: up to {format_size(round(allowed.most))}"
        nearest = (
            f'"{format_size(round(allowed.most))}", and larger bodies kept elsewhere, their address in the message'
        )
        report.error(f"{path}.max_message_size", format_size(size), limit, source=allowed.source, instead=nearest)


def notify(report: Report, alarms: Alarms | None, topic: str, allowed: str, *, source: str) -> None:
    """Refuse a topic for alarms that isn't of the cloud's own kind, and tell of alarms that nobody hears.

    `topic` is a pattern of the topics that the cloud knows, `allowed` the same for people.
    """
    if alarms is None:
        return
    found = alarms.notify.topic
    if found is not None and not re.fullmatch(topic, found, re.IGNORECASE):
        instead = 'notify = { email = "..." }'
        report.error("$.alarms.notify.topic", found, f"allowed: {allowed}", source=source, instead=instead)
    if found is None and alarms.notify.email is None:
        limit = "alarms change their state, and the dashboard shows it, but nobody is told"
        report.note("$.alarms", "nobody to notify", limit, instead='notify = { email = "..." }, or { topic = "..." }')


def subscriptions_of_topics(report: Report, topology: Topology, most: Count) -> None:
    """Refuse more subscriptions of one topic than the cloud has."""
    for topic in topology.topics:
        count = len(topology.subscriptions_of(topic))
        if count > most.most:
            report.error(f"$.topics.{topic}", f"{count} subscriptions", f"allowed: {most.most}", source=most.source)
