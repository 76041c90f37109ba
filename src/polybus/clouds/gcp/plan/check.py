"""What Pub/Sub refuses."""

from __future__ import annotations

from polybus.clouds.gcp.limits import GCP
from polybus.clouds.gcp.plan import allow as gcp_allow
from polybus.clouds.gcp.plan import bodies as gcp_bodies
from polybus.clouds.gcp.plan.filters import filter_problem
from polybus.clouds.gcp.plan.invokers import INVOKER, names_service
from polybus.plan import bodies
from polybus.plan import rules as common
from polybus.plan.alarms import own_alarms, unheard
from polybus.plan.findings import Report
from polybus.plan.names import Names, subscription_tag
from polybus.topology.model import Push, Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration

__all__ = ["rules"]


def rules(report: Report, topology: Topology, stack: str) -> None:
    """Report what Pub/Sub refuses of a topology, or does differently."""
    names = Names(topology.name, stack, round(GCP.topic_name.length.most))
    for target in common.published(topology):
        common.name(report, common.path_of(target), names.of(target.name), GCP.topic_name)
        _entity(report, common.path_of(target), target)
    for item in common.consumed(topology):
        if isinstance(item, Subscription):
            common.name(report, common.path_of(item), names.of(item.name), GCP.subscription_name)
        common.lease(report, item, GCP)
        common.retention(report, item, GCP)
        common.dead_letter_retention(report, item, GCP)
        common.attempts(report, item, GCP)
    _count(report, topology)
    common.fairness(report, topology, "Pub/Sub", "gcp")
    common.foreign(report, topology, GCP, pauses=True)
    gcp_allow.rule(report, topology)
    gcp_bodies.rule(report, topology, stack)
    bodies.rule(report, topology, lambda entry: entry.max_message_size or GCP.default_message_bytes)
    for subscription in topology.subscriptions.values():
        _subscription(report, topology, subscription)
    for path, entry, own in own_alarms(topology):
        if isinstance(entry, Subscription) and entry.push is None:
            limit = "Pub/Sub counts failed deliveries of push subscriptions alone"
            unheard(report, path, own.failed_pushes or 0, "failed_pushes", limit, source="PG", instead="dead_letters")
    topic = r"projects/[^/]+/topics/[^/]+"
    common.notify(report, topology.alarms, topic, "projects/<project>/topics/<topic>", source="PG")


def _entity(report: Report, path: str, entry: Topic | Queue) -> None:
    if entry.max_delay:
        limit = "Pub/Sub has no delay"
        instead = (
            f"{common.SCHEDULED}; a task of Cloud Tasks whose scheduleTime is then and whose target publishes "
            "(topics.publish); where other clouds have the delay, the entry with clouds that leave gcp out"
        )
        report.error(f"{path}.max_delay", format_duration(entry.max_delay), limit, source="PG", instead=instead)
    common.message_size(report, path, entry.max_message_size, GCP.message_bytes)
    if entry.existing is not None and not (entry.existing.startswith("projects/") and "/topics/" in entry.existing):
        report.error(f"{path}.existing", entry.existing, "allowed: projects/<project>/topics/<topic>", source="PG")


def _subscription(report: Report, topology: Topology, subscription: Subscription) -> None:
    path = common.path_of(subscription)
    problem = filter_problem(subscription.filter, subscription_tag(topology.name, subscription.name))
    if problem is not None:
        limit = f"allowed: {GCP.filter_bytes.most} bytes"
        instead = "shorter names and values, or an attribute that the publisher sets for it"
        report.error(f"{path}.filter", problem, limit, source=GCP.filter_bytes.source, instead=instead)
    if subscription.push is not None:
        _push(report, path, subscription.push)


def _push(report: Report, path: str, push: Push) -> None:
    where = f"{path}.push.{push.kind}"
    if push.forward is not None:
        limit = "Pub/Sub delivers to HTTPS alone, not to another topic"
        instead = f"a subscription without push, and a service that consumes it and publishes to {push.forward}"
        report.error(where, push.forward, limit, source="PG", instead=instead)
    elif push.kind in ("email", "sms"):
        limit = "Pub/Sub pushes to HTTPS alone"
        instead = 'push = { function = "..." }, a Cloud Run service that sends it on'
        report.error(where, push.endpoint, limit, source="PG", instead=instead)
    elif push.function is not None and push.function.startswith(("arn:", "/")):
        limit = "a function is the URL of a Cloud Run service, or a name that the stack config resolves"
        instead = "https://<service>-<project number>.<region>.run.app"
        report.error(where, push.function, limit, source="PG", instead=instead)
    else:
        _signature(report, where, push)
        _invoker(report, where, push)


def _signature(report: Report, where: str, push: Push) -> None:
    limit = "requests bear Google's signature (OIDC) where the stack config has pushAccount, else none"
    instead = "pushAccount: a private Cloud Run service and polybus.serverless.cloud_run refuse what isn't signed"
    report.note(where, push.endpoint, limit, source="PG", instead=instead)


def _invoker(report: Report, where: str, push: Push) -> None:
    """Tell where the right to call a Cloud Run service can't be planned, since its address doesn't say which it is."""
    host = push.endpoint.partition("://")[2].partition("/")[0]
    if (push.function is None and not host.endswith(".run.app")) or names_service(push.endpoint):
        return
    form = "https://<service>-<project number>.<region>.run.app"
    limit = f"{INVOKER} is planned where the address, or what the stack config resolves it to, is {form}; else grant it"
    instead = f"{form}, or {INVOKER} on the service for the stack's pushAccount"
    report.note(where, push.endpoint, limit, source="PG", instead=instead)


def _count(report: Report, topology: Topology) -> None:
    """Refuse more than a project holds; dead letters have a topic and a subscription of their own."""
    consumed = len(common.consumed(topology))
    for kind, number, most in (
        ("topics", len(common.published(topology)) + consumed, GCP.topics),
        ("subscriptions", 2 * consumed, GCP.subscriptions),
    ):
        if number > most.most:
            found, limit = f"{number} {kind}, dead letters counted", f"a project holds {most.most}"
            report.error("$", found, limit, source=most.source, instead="two buses in two projects")
