"""What SNS and SQS refuse."""

from __future__ import annotations

import math
import re

from polybus.clouds.aws.limits import AWS
from polybus.clouds.aws.plan import allow as aws_allow
from polybus.clouds.aws.plan import bodies as aws_bodies
from polybus.clouds.aws.plan import policy_size as aws_policy_size
from polybus.clouds.aws.plan import push as aws_push
from polybus.clouds.aws.plan.filters import filter_problem
from polybus.clouds.aws.plan.watch import watched
from polybus.plan import bodies
from polybus.plan import rules as common
from polybus.plan.alarms import lowest, own_alarms, unheard
from polybus.plan.findings import Report
from polybus.plan.names import FIFO_SUFFIX, Names
from polybus.topology.limits import Count
from polybus.topology.model import DEFAULT_MAX_ATTEMPTS, Push, Queue, Subscription, Topic, Topology
from polybus.topology.quantities import format_duration, format_size

__all__ = ["rules"]

_OWN_ATTRIBUTES = 2  # the reserved one, and the room that dead-lettering needs (contract, P4)
_LATER = f"for longer, {common.SCHEDULED}"


def rules(report: Report, topology: Topology, stack: str) -> None:
    """Report what AWS refuses of a topology, or does differently."""
    topics, queues = (Names(topology.name, stack, round(rule.length.most)) for rule in (AWS.topic_name, AWS.queue_name))
    for topic in topology.topics.values():
        suffix = FIFO_SUFFIX if topic.ordered else ""
        common.name(report, f"$.topics.{topic.name}", topics.of(topic.name, suffix=suffix), AWS.topic_name)
        _topic(report, topology, topic)
    for entry in common.consumed(topology):
        suffix = FIFO_SUFFIX if topology.is_ordered(entry.name) else ""
        common.name(report, common.path_of(entry), queues.of(entry.name, suffix=suffix), AWS.queue_name)
        common.lease(report, entry, AWS)
        common.retention(report, entry, AWS)
        common.dead_letter_retention(report, entry, AWS)
        _letters_outlive(report, entry)
        if not isinstance(entry, Subscription) or entry.push is None:
            common.attempts(report, entry, AWS)
    for subscription in topology.subscriptions.values():
        _subscription(report, topology, subscription)
    for queue in topology.queues.values():
        _queue(report, queue)
    common.foreign(report, topology, AWS, pauses=False)
    aws_allow.rule(report, topology)
    aws_policy_size.rule(report, topology, stack)
    aws_bodies.rule(report, topology, stack)
    bodies.rule(report, topology, _largest)
    _count(report, topology)
    _alarms(report, topology)
    common.notify(report, topology.alarms, r"arn:[^:]+:sns:[^:]+:[^:]+:[^:]+", "the ARN of an SNS topic", source="B")


def _largest(entry: Topic | Queue) -> int:
    usual = AWS.sns_default_bytes if isinstance(entry, Topic) else AWS.default_message_bytes
    return entry.max_message_size or usual


def _alarms(report: Report, topology: Topology) -> None:
    """Tell where CloudWatch counts something else than an entry asks to be told of."""
    for path, entry, own in own_alarms(topology):
        if not isinstance(entry, Subscription):
            continue
        if own.failed_pushes is not None:
            least = lowest(topology, topology.subscriptions_of(entry.topic), "failed_pushes")
            raised = f"is at the lowest of its subscriptions, {least}" if least else "is none"
            limit = f"SNS counts what it can't deliver by topic: the alarm of {entry.topic} {raised}"
            found = str(own.failed_pushes) if own.failed_pushes else "false"
            instead = f"failed_pushes at $.topics.{entry.topic}.alarms"
            report.note(f"{path}.failed_pushes", found, limit, source="SNS", instead=instead)
        if entry.push is not None:
            limit = "SNS delivers it itself, and nothing waits in a queue"
            unheard(report, path, own.oldest_age or 0, "oldest_age", limit, source="SNS", instead="dead_letters")
            unheard(report, path, own.backlog or 0, "backlog", limit, source="SNS", instead="dead_letters")


def _topic(report: Report, topology: Topology, topic: Topic) -> None:
    path = f"$.topics.{topic.name}"
    subscriptions = topology.subscriptions_of(topic.name)
    if topic.max_delay:
        instead = f"an unordered queue with max_delay up to 15m, whose consumer publishes to {topic.name}; {_LATER}"
        report.error(
            f"{path}.max_delay", format_duration(topic.max_delay), "SNS has no delay", source="B", instead=instead
        )
    common.message_size(report, path, topic.max_message_size, AWS.message_bytes)
    if topic.ordered and len(subscriptions) > AWS.fifo_subscriptions.most:
        limit = f"an SNS FIFO topic has at most {AWS.fifo_subscriptions.most}"
        report.error(path, f"{len(subscriptions)} subscriptions", limit, source=AWS.fifo_subscriptions.source)
    if _large(topic) and len(subscriptions) > AWS.large_message_subscriptions.most:
        limit = f"a topic with messages above {format_size(AWS.sns_default_bytes)} has at most 100 subscriptions"
        report.error(path, f"{len(subscriptions)} subscriptions", limit, source=AWS.large_message_subscriptions.source)
    _filter_attributes(report, topology, topic)
    _existing(report, f"{path}.existing", topic.existing, "sns", ordered=topic.ordered)
    if topic.existing is not None and subscriptions:
        limit = "if another account has it, its policy has to let this one subscribe (sns:Subscribe)"
        report.note(f"{path}.existing", topic.existing, limit, source="SNS")


def _filter_attributes(report: Report, topology: Topology, topic: Topic) -> None:
    """Refuse filters that together name more attributes than fit natively into one message."""
    named, most = topology.filter_attributes(topic.name), AWS.attribute_count.most - _OWN_ATTRIBUTES
    if len(named) > most:
        found = f"filters that name {len(named)} attributes: {', '.join(sorted(named))}"
        limit = f"SQS carries {AWS.attribute_count.most} a message, of which {_OWN_ATTRIBUTES} are polybus's own"
        report.error(f"$.topics.{topic.name}", found, limit, source=AWS.attribute_count.source, instead="two topics")


def _large(topic: Topic) -> bool:
    return topic.max_message_size is not None and topic.max_message_size > AWS.sns_default_bytes


def _subscription(report: Report, topology: Topology, subscription: Subscription) -> None:
    path = common.path_of(subscription)
    problem = filter_problem(subscription.filter)
    if problem is not None:
        instead = "fewer attributes or alternatives, or an attribute that the publisher sets for it"
        report.error(f"{path}.filter", problem, "SNS filter policies have limits", source="SNS", instead=instead)
    push = subscription.push
    if push is None:
        return
    if push.forward is not None:
        _forward(report, topology, subscription, push.forward)
    else:
        _push(report, topology.topics[subscription.topic], path, push)
        _once(report, topology, subscription, push)
    if push.https is not None:
        _retries(report, path, subscription)
    elif subscription.max_attempts != DEFAULT_MAX_ATTEMPTS:
        limit = "SNS has its own number of attempts for e-mail, SMS, Lambda and queues, which can't be set"
        report.note(f"{path}.max_attempts", str(subscription.max_attempts), limit, source="k", instead="https")
    _differently(report, path, push)


def _push(report: Report, topic: Topic, path: str, push: Push) -> None:
    where = f"{path}.push.{push.kind}"
    if topic.ordered:
        instead = (
            "a subscription without push: a service consumes it, or a Lambda function by an event source mapping "
            "(polybus.serverless.aws_lambda)"
        )
        limit = "an SNS FIFO topic delivers to queues alone"
        report.error(where, f"push on the ordered topic {topic.name}", limit, source="Q", instead=instead)
    elif _large(topic) and push.kind != "function":
        limit = f"above {format_size(AWS.sns_default_bytes)} SNS delivers to SQS, Lambda and Firehose alone"
        report.error(
            where, f"push on a topic with large messages: {topic.name}", limit, source="PA", instead="function"
        )
    if push.function is not None and (push.function.startswith(("/", "https://")) or _foreign_arn(push.function)):
        limit = "a function is a Lambda function's ARN, or a name that the stack config resolves"
        report.error(where, push.function, limit, source="B", instead=aws_push.FUNCTION)


def _once(report: Report, topology: Topology, subscription: Subscription, push: Push) -> None:
    """Refuse a second subscription of an endpoint to a topic: SNS answers with the first, or refuses another filter."""
    others = topology.subscriptions_of(subscription.topic)
    twins = [item for item in others if item.push is not None and item.push.endpoint == push.endpoint]
    if subscription is not twins[0]:
        limit = f"SNS subscribes an endpoint to a topic once; $.subscriptions.{twins[0].name} does"
        where = f"{common.path_of(subscription)}.push.{push.kind}"
        report.error(where, f"{push.endpoint} again", limit, source="SNS", instead="one filter for both")


def _forward(report: Report, topology: Topology, subscription: Subscription, to: str) -> None:
    where = f"{common.path_of(subscription)}.push.forward"
    if to in topology.topics:
        limit, instead = "SNS delivers to queues, not to topics", f"a queue, or a service that publishes to {to}"
        report.error(where, f"the topic {to}", limit, source="Q", instead=instead)
        return
    queue, topic = topology.queues[to], topology.topics[subscription.topic]
    if topic.ordered and not (queue.ordered and topology.is_ordered(subscription.name)):
        limit = "what an ordered topic forwards stays ordered, and so do its dead letters"
        instead = f"an ordered queue, and no ordered = false at $.subscriptions.{subscription.name}"
        report.error(where, f"the queue {to} for the ordered topic {topic.name}", limit, source="Q", instead=instead)
    twins = [item for item in topology.forwards_to(to) if item.topic == subscription.topic]
    if subscription is not twins[0]:
        limit = f"SNS subscribes a queue to a topic once; $.subscriptions.{twins[0].name} does"
        report.error(where, f"the queue {to} again", limit, source="SNS", instead="one filter for both")
    if queue.existing is not None:
        limit = f"its access policy isn't the stack's: it has to let the topic {topic.name} send (sqs:SendMessage)"
        report.note(where, f"the queue {to}, which is adopted", limit, source="Q")


def _retries(report: Report, path: str, subscription: Subscription) -> None:
    """Refuse more retries of an HTTPS endpoint, or longer ones, than SNS makes."""
    count, first, longest = aws_push.retries(subscription)
    if count > aws_push.MOST_RETRIES:
        limit = f"SNS tries HTTPS again up to {aws_push.MOST_RETRIES} times"
        instead = str(aws_push.MOST_RETRIES + 1)
        report.error(f"{path}.max_attempts", str(subscription.max_attempts), limit, source="SNS", instead=instead)
        return
    total, most = aws_push.longest_retry(subscription), aws_push.LONGEST_RETRY
    if total > most:
        whole = format_duration(math.ceil(total))
        found = f"{count} retries of {first}s to {format_duration(longest)}, up to {whole} in all"
        fits = math.floor(2 * most / count - first)
        instead = f'backoff = {{ maximum = "{fits}s" }}' if fits >= first else "fewer max_attempts or a shorter backoff"
        report.error(
            f"{path}.backoff", found, f"SNS tries for {format_duration(most)} in all", source="SNS", instead=instead
        )


def _differently(report: Report, path: str, push: Push) -> None:
    """Tell what an endpoint doesn't get that it may count on."""
    if push.raw:
        limit = "SNS signs its envelope, so raw deliveries have no signature: polybus.serverless.cloud_run refuses them"
        report.note(f"{path}.push.raw", "true", limit, source="SNS", instead="the envelope, without raw = true")
    if push.function is not None:
        limit = (
            "once Lambda has taken an event, what fails is tried twice more, and goes to the function's own on-failure "
            "destination, not to these dead letters"
        )
        instead = "a destination at the function, or a subscription without push and an event source mapping"
        report.note(f"{path}.push.function", push.function, limit, source="SNS", instead=instead)


def _foreign_arn(function: str) -> bool:
    return function.startswith("arn:") and not aws_push.is_function(function)


def _queue(report: Report, queue: Queue) -> None:
    path = f"$.queues.{queue.name}"
    common.message_size(report, path, queue.max_message_size, AWS.message_bytes)
    _existing(report, f"{path}.existing", queue.existing, "sqs", ordered=queue.ordered)
    if queue.existing is not None:
        limit = "it has to be of the stack's own account: SQS lets no other set its redrive policy"
        report.note(f"{path}.existing", queue.existing, limit, source="Q")
    if not queue.max_delay:
        return
    if queue.ordered:
        limit = "an SQS FIFO queue has no delay for single messages"
        instead = f"an unordered queue with max_delay up to 15m, whose consumer publishes to {queue.name}; {_LATER}"
        report.error(f"{path}.max_delay", format_duration(queue.max_delay), limit, source="B", instead=instead)
    elif queue.max_delay not in AWS.delay:
        most = format_duration(AWS.delay.most)
        instead = f'"{most}"; {_LATER}, or a schedule of EventBridge Scheduler whose target is the queue'
        found, limit = format_duration(queue.max_delay), f"allowed: {format_duration(AWS.delay.least)} to {most}"
        report.error(f"{path}.max_delay", found, limit, source=AWS.delay.source, instead=instead)


def _letters_outlive(report: Report, entry: Subscription | Queue) -> None:
    if entry.dead_letter_retention <= entry.retention:
        limit = "SQS counts the age of a letter that it moves itself from its first enqueuing: some may expire at once"
        found = f"{format_duration(entry.dead_letter_retention)}, no longer than retention"
        instead = "a dead_letter_retention well above retention"
        report.note(f"{common.path_of(entry)}.dead_letter_retention", found, limit, source="B", instead=instead)


def _existing(report: Report, path: str, existing: str | None, service: str, *, ordered: bool) -> None:
    """Refuse what is no ARN of that service, and one whose name says that it keeps no order, or keeps it unasked."""
    if existing is None:
        return
    if not re.fullmatch(rf"arn:[a-z-]+:{service}:[a-z0-9-]+:[0-9]+:[\w-]+(\.fifo)?", existing, re.ASCII):
        kind, example = {"sns": ("topic", "orders"), "sqs": ("queue", "jobs")}[service]
        limit = f"allowed: the ARN of an {service.upper()} {kind}"
        instead = (
            f"arn:aws:{service}:<region>:<account>:<name>, such as arn:aws:{service}:eu-west-1:111122223333:{example}"
        )
        report.error(path, existing, limit, source="B", instead=instead)
    elif existing.endswith(FIFO_SUFFIX) != ordered:
        limit = f"a FIFO name ends with {FIFO_SUFFIX}, and no other: ordered has to say what it is"
        report.error(path, existing, limit, source="Q", instead=f"ordered = {str(not ordered).lower()}")


def _count(report: Report, topology: Topology) -> None:
    """Tell where AWS has to raise a quota first."""
    for topic in topology.topics:
        filters = sum(item.filter is not None for item in topology.subscriptions_of(topic))
        _quota(report, f"$.topics.{topic}", filters, "filters of one topic", AWS.filters_per_topic)
    filters = sum(item.filter is not None for item in topology.subscriptions.values())
    _quota(report, "$.subscriptions", filters, "filters", AWS.filters_per_account)
    _quota(report, "$.alarms", _planned_alarms(topology), "alarms", AWS.alarms)
    ordered = sum(topic.ordered for topic in topology.topics.values())
    _quota(report, "$.topics", ordered, "ordered topics", AWS.fifo_topics)


def _planned_alarms(topology: Topology) -> int:
    """Count alarms as they are planned."""
    return sum(1 for _ in watched(topology, lambda item, letters=False: item.name))


def _quota(report: Report, path: str, number: int, what: str, most: Count) -> None:
    if number > most.most:
        limit = f"an account's quota is {most.most}, unless it was raised"
        instead = "a quota increase, asked for beforehand"
        report.note(path, f"{number} {what}", limit, source=most.source, instead=instead)
