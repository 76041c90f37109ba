"""The page of what the local servers have: which operations of each service they serve, and which not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from polybus.clock import SystemClock
from polybus.localcloud.aws.faults import Faults
from polybus.localcloud.aws.remembered.cloudwatch import CloudWatchService
from polybus.localcloud.aws.remembered.iam import IamService
from polybus.localcloud.aws.remembered.kms import KmsService
from polybus.localcloud.aws.remembered.lambdas import LambdaService
from polybus.localcloud.aws.remembered.logs import LogsService
from polybus.localcloud.aws.remembered.ssm import SsmService
from polybus.localcloud.aws.rows import Rows
from polybus.localcloud.aws.sns import subscription, topic
from polybus.localcloud.aws.sns.service import SnsService
from polybus.localcloud.aws.sqs import settings
from polybus.localcloud.aws.sqs.service import SqsService
from polybus.localcloud.aws.sts import StsService
from polybus.localcloud.aws.timeline import Timeline
from polybus.localcloud.journal import Journal
from polybus.localcloud.pubsub import rest
from polybus.localcloud.pubsub import settings as pubsub_settings
from polybus.localcloud.pubsub.export import EXPORTS
from polybus.localcloud.pubsub.service import Service
from polybus.localcloud.servicebus.wire import management
from polybus.localcloud.store import Store
from tools.reference.markdown import code

__all__ = ["page"]

_HEAD = """\
# What the local servers have

Operations by service. What isn't served is refused by its name, in the words of the cloud: nothing is taken in silence.
How they differ from the clouds on purpose: [clouds on your own machine](../local.md#what-it-is-not).

"""


def page() -> str:
    """Return the page."""
    return _HEAD + "\n".join([*_aws(), *_pubsub(), *_servicebus()])


def _section(
    title: str, served: Sequence[str], refused: Sequence[str], more: Sequence[tuple[str, Sequence[str]]]
) -> str:
    lines = [f"## {title}", "", f"Served: {_listed(served)}", ""]
    for name, values in more:
        lines += [f"{name}: {_listed(values)}", ""]
    if refused:
        lines += [f"Refused by name: {_listed(refused)}", ""]
    return "\n".join(lines)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(code(name) for name in sorted(names)) + "."


def _aws() -> Iterator[str]:
    from botocore.session import Session

    rows = Rows(Journal(Store(None, "aws")))
    sqs = SqsService("000000000000", rows, Timeline(SystemClock()), Faults())
    sns = SnsService(sqs.queues, rows, Faults(), lambda: "")
    services: dict[str, Any] = {"sqs": sqs, "sns": sns, "sts": StsService("000000000000")}
    clock = Timeline(SystemClock())
    remembered: dict[str, Any] = {
        "cloudwatch": CloudWatchService("", rows, clock),
        "iam": IamService("", rows, clock),
        "kms": KmsService("", rows),
        "lambda": LambdaService("", rows),
        "logs": LogsService("", rows, clock),
        "ssm": SsmService("", rows, clock),
    }
    attributes = {
        "sqs": [("Attributes of queues", sorted(settings.KNOWN))],
        "sns": [
            ("Attributes of topics", sorted(topic.KNOWN)),
            ("Attributes of subscriptions", sorted(subscription.KNOWN)),
            ("Delivered to", ["sqs", "http", "https"]),
            ("Kept, and given nothing", sorted(set(subscription.PROTOCOLS) - {"sqs", "http", "https"})),
        ],
    }
    for name, service in services.items():
        known = set(Session().get_service_model(name).operation_names)
        served = sorted(service.actions)
        yield _section(f"AWS {name.upper()}", served, sorted(known - set(served)), attributes.get(name, []))
    names = [f"{name}:{action}" for name, service in remembered.items() for action in service.actions]
    about = (
        "What is made by these is kept and read back, and has no effect. All other operations of theirs are refused."
    )
    yield f"## AWS, remembered\n\n{about}\n\n{_listed(names)}\n"


def _pubsub() -> Iterator[str]:
    import google.pubsub_v1  # noqa: F401 - fills the pool
    from google.protobuf.descriptor_pool import Default

    built = Service(Store(None, "pubsub"), SystemClock(), enforce_iam=True, stream_seconds=1800.0)._build()
    for handler in built:
        found: Any = handler
        name, methods = found.service_name(), {path.rsplit("/", 1)[1] for path in found._method_handlers}
        try:
            known = {method.name for method in Default().FindServiceByName(name).methods}
        except KeyError:
            known = set()
        yield _section(f"Google {name}", sorted(methods), sorted(known - set(methods)), [])
    paths = [f"{verb} {shape}{':' if action else ''}{action}" for verb, shape, action in rest.BINDINGS]
    about = "The methods of all four, as JSON over HTTP on a port of its own, under `/v1/projects/PROJECT/`."
    yield f"## Google REST API, v1\n\n{about}\n\n{_listed(paths)}\n"
    fields = sorted({*pubsub_settings.TOPIC_ELSEWHERE, *pubsub_settings.SUBSCRIPTION_ELSEWHERE})
    kept = "Kept, shown, and given messages that go nowhere: "
    yield f"## Google, fields\n\n{kept}{_listed(EXPORTS)}\n\nRefused by name: {_listed(fields)}\n"


def _servicebus() -> Iterator[str]:
    operations = [f"com.microsoft:{name}" for name in management._OPERATIONS]
    http = ["queues", "topics", "subscriptions", "rules", "$namespaceinfo", "$Resources/queues", "$Resources/topics"]
    yield _section(
        "Azure Service Bus", operations, [], [("Management over HTTPS (create, read, list, change, delete)", http)]
    )
