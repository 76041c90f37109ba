"""What one entry of a topology may say about another: names that exist, names that differ, options that agree."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from polybus.topology import model
from polybus.topology.table import Problems, nearest, shown

__all__ = ["check_references"]


def check_references(topology: model.Topology, problems: Problems) -> None:
    """Note every reference to what isn't declared, every name used twice and every contradiction."""
    _differ(problems, "publishers name either", {"topics": topology.topics, "queues": topology.queues})
    _differ(problems, "consumers name either", {"subscriptions": topology.subscriptions, "queues": topology.queues})
    _differ(problems, "they become one resource name", {"services": topology.services})
    for section, entries in (("topics", topology.topics), ("queues", topology.queues)):
        for name, entry in entries.items():
            if entry.ordered and entry.fairness_key is not None:
                allowed = "either: where order is kept, each ordering key has its turn already"
                problems.add(f"$.{section}.{name}.fairness_key", f"{shown(entry.fairness_key)} beside ordered", allowed)
    for subscription in topology.subscriptions.values():
        _subscription(topology, subscription, problems)
    if topology.alarms is None:
        _unwatched(topology, problems)
    # Made once: a topology may have thousands of either.
    publish = {**topology.topics, **topology.queues}
    consume = {**topology.subscriptions, **topology.queues}
    for service in topology.services.values():
        _service(topology, service, publish, consume, problems)


def _differ(problems: Problems, reason: str, sections: Mapping[str, Iterable[str]]) -> None:
    """Refuse names that are equal but for case, which Service Bus and SQL collations don't tell apart."""
    seen: dict[str, str] = {}
    for section, names in sections.items():
        for name in names:
            path = f"$.{section}.{name}"
            first = seen.setdefault(name.lower(), path)
            if first != path:
                problems.add(path, f"the name {shown(name)}", f"a name other than that of {first}, as {reason}")


def _known(problems: Problems, path: str, name: str, known: Collection[str], what: str) -> bool:
    if name in known:
        return True
    names = sorted(set(known))
    near = nearest(name, names)
    hint = f" (nearest: {near})" if near else ""
    declared = ", ".join(names) or "none is declared"
    problems.add(path, f"{shown(name)}, which is no {what}{hint}", f"a declared {what}: {declared}")
    return False


def _subscription(topology: model.Topology, subscription: model.Subscription, problems: Problems) -> None:
    path = f"$.subscriptions.{subscription.name}"
    if not subscription.topic or not _known(problems, f"{path}.topic", subscription.topic, topology.topics, "topic"):
        return
    if subscription.ordered and not topology.topics[subscription.topic].ordered:
        allowed = f"false, or ordered = true at $.topics.{subscription.topic}"
        problems.add(f"{path}.ordered", "true on a subscription of an unordered topic", allowed)
    if subscription.tap and subscription.push:
        problems.add(f"{path}.tap", "true beside push", "either: a tap is read by `polybus tail`, push by the cloud")
    if subscription.consumers == "foreign" and subscription.push:
        problems.add(f"{path}.consumers", "foreign beside push", "either: the cloud itself delivers what is pushed")
    if subscription.push is not None and subscription.push.forward is not None:
        _forward(topology, subscription, subscription.push.forward, problems)


def _unwatched(topology: model.Topology, problems: Problems) -> None:
    """Note thresholds of entries where the bus has no alarms."""
    said: list[tuple[str, model.OwnAlarms | None]] = [
        *((f"$.topics.{name}.alarms", topic.alarms) for name, topic in topology.topics.items()),
        *((f"$.subscriptions.{name}.alarms", item.alarms) for name, item in topology.subscriptions.items()),
        *((f"$.queues.{name}.alarms", queue.alarms) for name, queue in topology.queues.items()),
    ]
    for path, own in said:
        if own is not None and own.on:
            problems.add(path, "thresholds, and no [alarms]", "them beside [alarms], which has whom to notify")


def _forward(topology: model.Topology, subscription: model.Subscription, to: str, problems: Problems) -> None:
    """Note a forward to what isn't there, to what it comes back from, and to an order that its messages don't have."""
    path = f"$.subscriptions.{subscription.name}.push.forward"
    if not _known(problems, path, to, {**topology.topics, **topology.queues}, "topic or queue"):
        return
    if subscription.topic in _reached(topology, to):
        problems.add(path, f"{shown(to)}, which leads back to the topic {subscription.topic}", "a way without a circle")
    if topology.is_ordered(to) and not topology.topics[subscription.topic].ordered:
        allowed = f"an unordered queue or topic, or ordered = true at $.topics.{subscription.topic}"
        problems.add(path, f"{shown(to)}, which is ordered, from an unordered topic", allowed)


def _reached(topology: model.Topology, start: str) -> set[str]:
    """Collect the topics and queues that what is published to one of them is forwarded to, that one among them."""
    reached, left = {start}, [start]
    while left:
        for subscription in topology.subscriptions_of(left.pop()):
            to = subscription.push.forward if subscription.push is not None else None
            if to is not None and to not in reached:
                reached.add(to)
                left.append(to)
    return reached


def _service(
    topology: model.Topology,
    service: model.Service,
    publish: Collection[str],
    consume: Collection[str],
    problems: Problems,
) -> None:
    path = f"$.services.{service.name}"
    for name in service.publishes:
        _known(problems, f"{path}.publishes", name, publish, "topic or queue")
    for name in service.operates:
        _known(problems, f"{path}.operates", name, consume, "subscription or queue")
    for name in service.consumes:
        known = _known(problems, f"{path}.consumes", name, consume, "subscription or queue")
        if known and name in topology.subscriptions and topology.subscriptions[name].push:
            allowed = "a subscription without push: the cloud itself delivers this one"
            problems.add(f"{path}.consumes", f"the push subscription {shown(name)}", allowed)
