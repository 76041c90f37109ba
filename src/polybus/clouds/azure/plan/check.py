"""What Service Bus refuses."""

from __future__ import annotations

from polybus.clouds.azure.limits import AZURE
from polybus.clouds.azure.plan import allow as azure_allow
from polybus.clouds.azure.plan import bodies as azure_bodies
from polybus.clouds.azure.plan.filters import filter_problem
from polybus.plan import bodies
from polybus.plan import rules as common
from polybus.plan.alarms import lowest, own_alarms, unheard
from polybus.plan.findings import Report
from polybus.plan.names import Names, subscription_tag
from polybus.topology.model import Alarms, OwnAlarms, Push, Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration, format_size

__all__ = ["rules"]


def rules(report: Report, topology: Topology, stack: str) -> None:
    """Report what Service Bus refuses of a topology, or does differently."""
    entities = Names(topology.name, stack, round(AZURE.topic_name.length.most))
    for entry in common.published(topology):
        common.name(report, common.path_of(entry), entities.of(entry.name), AZURE.topic_name)
        _entity(report, common.path_of(entry), entry)
    for item in common.consumed(topology):
        common.lease(report, item, AZURE)
        common.retention(report, item, AZURE)
        common.attempts(report, item, AZURE)
    common.subscriptions_of_topics(report, topology, AZURE.subscriptions_per_topic)
    _count(report, topology)
    common.fairness(report, topology, "Service Bus", "azure")
    common.foreign(report, topology, AZURE, pauses=False)
    azure_allow.rule(report, topology)
    azure_bodies.rule(report, topology)
    bodies.rule(report, topology, lambda entry: entry.max_message_size or AZURE.default_message_bytes, functions=True)
    for topic in topology.topics:
        _one_case(report, topology, topic)
    for subscription in topology.subscriptions.values():
        _subscription(report, topology, subscription)
    if common.consumed(topology):
        limit = "Service Bus keeps dead letters until they are redriven or purged, whatever dead_letter_retention says"
        report.note("$", "dead letters", limit, source="AZ", instead="`polybus dead-letter purge`, and its alarm")
    if topology.alarms is not None:
        _alarms(report, topology, topology.alarms)
    group = r"/subscriptions/[^/]+/resourceGroups/[^/]+/providers/Microsoft\.Insights/actionGroups/[^/]+"
    common.notify(report, topology.alarms, group, "the resource id of an action group of Azure Monitor", source="AZ")


def _alarms(report: Report, topology: Topology, alarms: Alarms) -> None:
    """Tell which alarms Azure Monitor has no metric for, and which one is nearest to it."""
    pushes = any(subscription.push is not None for subscription in topology.subscriptions.values())
    _uncounted(report, "$.alarms", alarms.oldest_age, alarms.failed_pushes if pushes else 0, alarms)
    for path, entry, own in own_alarms(topology):
        _uncounted(report, path, own.oldest_age or 0, own.failed_pushes or 0, alarms)
        if isinstance(entry, Subscription):
            _by_topic(report, path, topology, entry, own)


def _uncounted(report: Report, path: str, oldest_age: float, failed_pushes: int, alarms: Alarms) -> None:
    limit = "Azure Monitor has no age of the oldest message for Service Bus"
    at = f", here at {alarms.backlog} waiting messages" if alarms.backlog else ""
    instead = f"the alarm of backlog{at}"
    unheard(report, path, oldest_age, "oldest_age", limit, source="AZ", instead=instead)
    limit = "Service Bus pushes nothing itself, so Azure Monitor counts no failed pushes"
    at = f", here at {alarms.dead_letters}" if alarms.dead_letters else ""
    instead = f"the alarm of dead_letters{at}: what isn't handled or forwarded ends there"
    unheard(report, path, failed_pushes, "failed_pushes", limit, source="AZ", instead=instead)


def _by_topic(report: Report, path: str, topology: Topology, entry: Subscription, own: OwnAlarms) -> None:
    """Tell that a subscription has no alarm of its own, and when that of its topic is raised."""
    said = {"dead_letters": own.dead_letters, "backlog": own.backlog}
    if own.on and all(value is None for value in said.values()):
        return
    siblings = topology.subscriptions_of(entry.topic)
    least = {what: lowest(topology, siblings, what) for what in ("dead_letters", "backlog")}
    raised = " and ".join(f"{value} {what}" for what, value in least.items() if value) or "none"
    limit = (
        f"Azure Monitor counts by topic: the alarms of {entry.topic} are at the lowest of its subscriptions, {raised},"
        " and count this one along"
    )
    found = ", ".join(f"{what} {value or 'false'}" for what, value in said.items() if value is not None)
    instead = f"thresholds at $.topics.{entry.topic}.alarms"
    report.note(path, found or "false", limit, source="AZ", instead=instead)


def _entity(report: Report, path: str, entry: Topic | Queue) -> None:
    if entry.max_delay and entry.ordered:
        limit = "Service Bus can't hold a scheduled message of a session in its order"
        found = format_duration(entry.max_delay)
        before = f"an unordered queue with max_delay, whose consumer publishes to {entry.name}"
        instead = f"{before}; or {common.SCHEDULED}"
        report.error(f"{path}.max_delay", found, limit, source="AZ", instead=instead)
    common.message_size(report, path, entry.max_message_size, AZURE.message_bytes)
    size = entry.max_message_size
    if size is not None and AZURE.default_message_bytes < size <= AZURE.message_bytes.most:
        limit = f"above {format_size(AZURE.default_message_bytes)} the namespace has to be Premium"
        report.note(f"{path}.max_message_size", format_size(size), limit, source="AZ", instead='sku = "Premium"')
    if entry.existing is not None and "/providers/microsoft.servicebus/" not in entry.existing.lower():
        report.error(
            f"{path}.existing", entry.existing, "allowed: the resource id of a Service Bus entity", source="AZ"
        )


def _one_case(report: Report, topology: Topology, topic: str) -> None:
    """Refuse filters that tell attributes apart by case, which Service Bus SQL doesn't."""
    seen: dict[str, str] = {}
    for name in sorted(topology.filter_attributes(topic)):
        other = seen.setdefault(name.lower(), name)
        if other != name:
            limit = "Service Bus SQL takes names that differ in case alone for one"
            found, instead = f"filters that name both {other} and {name}", "two names that differ otherwise"
            report.error(f"$.topics.{topic}", found, limit, source="AZ", instead=instead)


def _subscription(report: Report, topology: Topology, subscription: Subscription) -> None:
    path = common.path_of(subscription)
    problem = filter_problem(subscription.filter, subscription_tag(topology.name, subscription.name))
    if problem is not None:
        limit = f"allowed: SQL of {AZURE.filter_characters.most} characters"
        instead = "a shorter filter, or an attribute that the publisher sets for it"
        report.error(f"{path}.filter", problem, limit, source=AZURE.filter_characters.source, instead=instead)
    if subscription.push is not None and subscription.push.forward is not None:
        _forward(report, topology, subscription, subscription.push.forward)
    elif subscription.push is not None:
        _push(report, path, subscription.push)


def _forward(report: Report, topology: Topology, subscription: Subscription, to: str) -> None:
    where = f"{common.path_of(subscription)}.push.forward"
    hops = _hops(topology, subscription)
    if hops > AZURE.forward_hops.most:
        limit = f"Service Bus forwards a message {AZURE.forward_hops.most} times, and dead-letters it then"
        instead = "a shorter way, or a service that publishes on"
        source = AZURE.forward_hops.source
        report.error(where, f"{to}, as hop {hops} from where it was published", limit, source=source, instead=instead)
    if topology.is_ordered(to):
        limit = "Service Bus forwards outside of sessions: messages keep their keys, but their order isn't promised"
        instead = f"a service that consumes the topic {subscription.topic} in order and publishes to {to}"
        report.note(where, f"{to}, which is ordered", limit, source="AZ", instead=instead)


def _hops(topology: Topology, subscription: Subscription) -> int:
    """Count how often a message was forwarded at most, once this subscription has done it."""
    hops, topics = 0, {subscription.topic}
    while topics and hops < len(topology.topics):  # no way is longer than one through all of them
        hops += 1
        topics = {before.topic for topic in topics for before in topology.forwards_to(topic)}
    return hops


def _push(report: Report, path: str, push: Push) -> None:
    where = f"{path}.push.{push.kind}"
    if push.function is None:
        limit = "Service Bus pushes to no address: a service or a function's trigger reads it, or it is forwarded"
        instead = 'push = { function = "..." }, an Azure Function that sends it on'
        report.error(where, push.endpoint, limit, source="AZ", instead=instead)
    elif push.function.startswith(("arn:", "https://")):
        limit = "a function is the resource id of a function app, or a name that the stack config resolves"
        report.error(where, push.function, limit, source="AZ", instead="/subscriptions/.../Microsoft.Web/sites/<name>")


def _count(report: Report, topology: Topology) -> None:
    """Refuse more topics and queues than any namespace holds."""
    number, most = len(common.published(topology)), AZURE.most_of(AZURE.units[-1])
    if number > most:
        limit = f"a Premium namespace of {AZURE.units[-1]} messaging units holds {most}, a Standard one fewer"
        report.error("$", f"{number} topics and queues", limit, source=AZURE.entities.source, instead="two buses")
