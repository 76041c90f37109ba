"""The rules that clouds share: what differs between them is in their limits."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from polybus.plan.findings import Report
from polybus.plan.values import unknown
from polybus.topology.limits import NET_ATTEMPTS, CloudLimits, Count, NameRule, Range
from polybus.topology.model import Alarms, Allow, Backoff, Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration, format_size

__all__ = [
    "SCHEDULED",
    "allowed_on",
    "attempts",
    "cloud_attempts",
    "consumed",
    "counted_by_cloud",
    "dead_letter_retention",
    "fairness",
    "foreign",
    "lease",
    "message_size",
    "name",
    "no_conditions",
    "notify",
    "outsiders",
    "path_of",
    "published",
    "retention",
    "subscriptions_of_topics",
    "within",
]


SCHEDULED = "`Outbox.schedule`, by which it waits in the publisher's own database"
"""The way to a delay that every cloud takes (docs/schedule.md), since none is asked for it."""


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


def fairness(report: Report, topology: Topology, title: str, cloud: str) -> None:
    """Refuse fairness where the cloud can't tell tenants apart."""
    for entry in published(topology):
        if entry.fairness_key is not None:
            instead = (
                "a queue of its own for who publishes much; where other clouds have it, the entry with clouds that "
                f"leave {cloud} out"
            )
            limit = f"{title} hands messages out whosever they are"
            report.error(f"{path_of(entry)}.fairness_key", entry.fairness_key, limit, instead=instead)


def counted_by_cloud(entry: Subscription | Queue) -> bool:
    """Tell whether the cloud's own delivery limit is the one that is declared: nobody of the bus counts attempts."""
    return entry.consumers == "foreign" or (isinstance(entry, Subscription) and entry.push is not None)


def cloud_attempts(limits: CloudLimits, entry: Subscription | Queue) -> int:
    """Give the cloud's own delivery limit: what is declared, or the net under the bus's own (contract, D6)."""
    more = 0 if counted_by_cloud(entry) else NET_ATTEMPTS
    return round(limits.attempts.clamp(entry.max_attempts + more))


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
    """Report a retention that the cloud doesn't have."""
    within(report, f"{path_of(entry)}.retention", entry.retention, limits.retention)


def dead_letter_retention(report: Report, entry: Subscription | Queue, limits: CloudLimits) -> None:
    """Report a retention of dead letters that the cloud doesn't have, where that is a setting of its own."""
    if limits.dead_letter_retention is not None:
        path = f"{path_of(entry)}.dead_letter_retention"
        within(report, path, entry.dead_letter_retention, limits.dead_letter_retention)


def attempts(report: Report, entry: Subscription | Queue, limits: CloudLimits) -> None:
    """Refuse a number of attempts that the cloud's own limit would cut short; tell where the net is narrower."""
    path = f"{path_of(entry)}.max_attempts"
    most = round(limits.attempts.most)
    if counted_by_cloud(entry):
        _counted_attempts(report, path, entry, limits)
    elif entry.max_attempts >= most:
        limit = f"the cloud itself gives up at {most} deliveries"
        report.error(path, str(entry.max_attempts), limit, source=limits.attempts.source, instead=str(most - 1))
    elif entry.max_attempts + NET_ATTEMPTS > most:
        limit = (
            f"the cloud itself gives up at {most} deliveries, so a crashing consumer has fewer than {NET_ATTEMPTS} more"
        )
        report.note(path, str(entry.max_attempts), limit, source=limits.attempts.source)


def _counted_attempts(report: Report, path: str, entry: Subscription | Queue, limits: CloudLimits) -> None:
    """Refuse a number of attempts that the cloud, which counts them here, doesn't have."""
    if entry.max_attempts not in limits.attempts:
        least, most = round(limits.attempts.least), round(limits.attempts.most)
        nearest = str(round(limits.attempts.clamp(entry.max_attempts)))
        what = "a push subscription" if entry.consumers == "polybus" else "what isn't consumed by polybus"
        limit = f"{what} has the cloud's own limit: {least} to {most}"
        report.error(path, str(entry.max_attempts), limit, source=limits.attempts.source, instead=nearest)


def foreign(report: Report, topology: Topology, limits: CloudLimits, *, pauses: bool) -> None:
    """Tell what of attempts and their pauses is kept for consumers that aren't polybus.

    `pauses` says whether the cloud itself waits between attempts.
    """
    mine = {name for service in topology.services.values() for name in service.consumes}
    for entry in consumed(topology):
        path, backoff = path_of(entry), entry.backoff
        if entry.consumers == "foreign" and backoff != Backoff() and not pauses:
            found = f"{format_duration(backoff.initial)} to {format_duration(backoff.maximum)}"
            limit = "no pauses of the cloud's own: what failed is there again once its lease ends, or is given back"
            report.note(f"{path}.backoff", found, limit, instead="a pause by the consumer itself")
        elif mine and not _counted(entry, mine):
            most = cloud_attempts(limits, entry)
            limit = f"polybus counts these, the cloud itself gives up at {most} deliveries; no service here consumes it"
            instead = 'consumers = "foreign", if what consumes it isn\'t polybus'
            report.note(f"{path}.max_attempts", str(entry.max_attempts), limit, instead=instead)


def _counted(entry: Subscription | Queue, consumed_here: Collection[str]) -> bool:
    """Tell whether somebody counts the attempts that are declared: the cloud, or a service of the bus."""
    tap = isinstance(entry, Subscription) and entry.tap
    return tap or counted_by_cloud(entry) or entry.name in consumed_here


def message_size(report: Report, path: str, size: int | None, allowed: Range) -> None:
    """Report a `max_message_size` in bytes that is larger than the cloud takes."""
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
    if found is not None and not unknown(found) and not re.fullmatch(topic, found, re.IGNORECASE):
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


def allowed_on(cloud: str, entry: Topic | Queue) -> list[Allow]:
    """List whom an entry lets in on a cloud."""
    return [allow for allow in entry.allow if allow.cloud in (None, cloud)]


def outsiders(topology: Topology, cloud: str) -> Iterator[tuple[str, Topic | Queue, Allow]]:
    """Give everyone who is let in on a cloud, with the place in the topology and the entry."""
    for entry in published(topology):
        for number, allow in enumerate(entry.allow):
            if allow.cloud in (None, cloud):
                yield f"{path_of(entry)}.allow[{number}]", entry, allow


def no_conditions(report: Report, path: str, allow: Allow) -> None:
    """Refuse conditions, on a cloud whose plan makes none."""
    if allow.conditions:
        report.error(f"{path}.conditions", ", ".join(allow.conditions), "the plan for this cloud makes no conditions")
