"""What refers, on one cloud, to an entry that exists on others alone."""

from __future__ import annotations

from collections.abc import Iterator

from polybus.plan.findings import Report
from polybus.plan.rules import path_of
from polybus.topology.model import Queue, Service, Subscription, Topic, Topology

__all__ = ["rule"]


def rule(report: Report, topology: Topology, cloud: str) -> None:
    """Refuse each such reference, by its name."""
    for path, key, entry in _references(topology, cloud):
        if _exists(entry, cloud):
            continue
        there, wanted = ", ".join(entry.clouds), ", ".join(f'"{name}"' for name in entry.clouds)
        instead = f"clouds = [{wanted}] at {path}, or {cloud} among those of {path_of(entry)}"
        if path.startswith("$.services."):
            instead += f", or another service, on {there}, for it"
        report.error(f"{path}.{key}", entry.name, f"{path_of(entry)} exists on {there} alone", instead=instead)


def _references(topology: Topology, cloud: str) -> Iterator[tuple[str, str, Topic | Subscription | Queue]]:
    """Give what every entry that exists on a cloud refers to, with its path and key."""
    published: dict[str, Topic | Queue] = {**topology.queues, **topology.topics}
    consumed: dict[str, Subscription | Queue] = {**topology.queues, **topology.subscriptions}
    for item in topology.subscriptions.values():
        if _exists(item, cloud):
            yield path_of(item), "topic", topology.topics[item.topic]
            if item.push is not None and item.push.forward is not None:
                yield path_of(item), "push.forward", published[item.push.forward]
    for service in topology.services.values():
        if _exists(service, cloud):
            path = f"$.services.{service.name}"
            yield from ((path, "publishes", published[name]) for name in service.publishes)
            yield from ((path, "consumes", consumed[name]) for name in service.consumes)
            yield from ((path, "operates", consumed[name]) for name in service.operates)


def _exists(entry: Topic | Subscription | Queue | Service, cloud: str) -> bool:
    return not entry.clouds or cloud in entry.clouds
