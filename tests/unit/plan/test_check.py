"""What each cloud refuses or does differently, with place, limit, source and the nearest thing that works."""

from __future__ import annotations

import json

import pytest
from tests.clouds import CLOUDS

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.rights import Arns, policies
from polybus.errors import UnsupportedFeature
from polybus.plan.check import Finding, Severity, check, refuse
from polybus.plan.values import resolve
from polybus.topology.file import loads
from polybus.topology.model import Topology

PLAIN = """
[bus]
name = "shop"
[topics.orders]
[topics.ledger]
ordered = true
[subscriptions.billing]
topic = "orders"
filter = 'region in ("eu", "uk") and not exists(test)'
[subscriptions.audit]
topic = "ledger"
[subscriptions.fast]
topic = "ledger"
ordered = false
[queues.jobs]
[queues.steps]
ordered = true
"""


CHAIN = "".join(
    f'[topics.t{n}]\n[subscriptions.f{n}]\ntopic = "t{n}"\npush = {{ forward = "t{n + 1}" }}\n' for n in range(5)
)
CHAIN += "[topics.t5]\n"


def topology(text: str) -> Topology:
    return loads(PLAIN + text, source="polybus.toml")


def errors(text: str, cloud: str | None = None) -> list[Finding]:
    return [finding for finding in check(topology(text), cloud) if finding.severity is Severity.ERROR]


def notes(text: str, cloud: str) -> list[Finding]:
    return [finding for finding in check(topology(text), cloud) if finding.severity is Severity.NOTE]


def test_what_is_portable_is_refused_nowhere() -> None:
    assert errors("") == []
    for cloud in CLOUDS:
        refuse(topology(""), cloud)


@pytest.mark.parametrize(
    ("text", "clouds", "path", "words"),
    [
        ('[topics.t]\nmax_delay = "5m"', {"aws", "gcp"}, "$.topics.t.max_delay", "no delay"),
        ('[topics.t]\nordered = true\nmax_delay = "5m"', {"aws", "azure", "gcp"}, "$.topics.t.max_delay", "5m"),
        ('[queues.q]\nmax_delay = "15m"', {"gcp"}, "$.queues.q.max_delay", "Pub/Sub has no delay"),
        ('[queues.q]\nmax_delay = "16m"', {"aws", "gcp"}, "$.queues.q.max_delay", "16m"),
        ('[queues.q]\nordered = true\nmax_delay = "1s"', {"aws", "azure", "gcp"}, "$.queues.q.max_delay", "1s"),
        ('[queues.q]\nlease = "5s"', {"gcp"}, "$.queues.q.lease", "allowed: 10s to 10m"),
        ('[queues.q]\nlease = "2s"', {"azure", "gcp"}, "$.queues.q.lease", "2s"),
        ('[queues.q]\nretention = "20d"', {"aws"}, "$.queues.q.retention", "allowed: 1m to 14d"),
        ('[queues.q]\nretention = "40d"', {"aws", "gcp"}, "$.queues.q.retention", "40d"),
        ('[queues.q]\nretention = "5m"', {"gcp"}, "$.queues.q.retention", "allowed: 10m to 31d"),
        ('[queues.q]\ndead_letter_retention = "30d"', {"aws"}, "$.queues.q.dead_letter_retention", "30d"),
        ("[queues.q]\nmax_attempts = 100", {"gcp"}, "$.queues.q.max_attempts", "gives up at 100 deliveries"),
        ("[queues.q]\nmax_attempts = 1000", {"aws", "gcp"}, "$.queues.q.max_attempts", "1000"),
        ('[queues.q]\nmax_message_size = "2MiB"', {"aws"}, "$.queues.q.max_message_size", "up to 1MiB"),
        ('[queues.q]\nmax_message_size = "20MB"', {"aws", "gcp"}, "$.queues.q.max_message_size", "20MB"),
        ('[subscriptions.s]\ntopic = "orders"\npush = { email = "a@b.c" }', {"azure", "gcp"}, ".push.email", "a@b.c"),
        ('[subscriptions.s]\ntopic = "orders"\npush = { sms = "+447700900123" }', {"azure", "gcp"}, ".push.sms", "+44"),
        ('[subscriptions.s]\ntopic = "orders"\npush = { https = "https://a.b" }', {"azure"}, ".push.https", "a.b"),
        ('[subscriptions.s]\ntopic = "ledger"\npush = { email = "a@b.c" }', {"aws", "azure", "gcp"}, ".push.email", ""),
        ('[subscriptions.s]\ntopic = "ledger"\npush = { function = "f" }', {"aws"}, ".push.function", "queues alone"),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "f" }\nmax_attempts = 2',
            {"gcp"},
            "max_attempts",
            "5",
        ),
        ('[queues.q]\nexisting = "arn:aws:sqs:eu-west-1:1:q"', {"azure", "gcp"}, "$.queues.q.existing", "allowed"),
        ('[queues.q]\nexisting = "x:sqs:y"', {"aws", "azure", "gcp"}, "$.queues.q.existing", "allowed"),
        (
            '[topics.t]\nexisting = "arn:aws:sns:eu-west-1:1:t:1f2e3d4c"',
            {"aws", "azure", "gcp"},
            "$.topics.t.existing",
            "allowed",
        ),
        (
            '[queues.q]\nordered = true\nexisting = "arn:aws:sqs:eu-west-1:1:q"',
            {"aws", "azure", "gcp"},
            "$.queues.q.existing",
            "",
        ),
        (
            '[topics.t]\nexisting = "arn:aws:sns:eu-west-1:1:t.fifo"',
            {"aws", "azure", "gcp"},
            "$.topics.t.existing",
            "",
        ),
        ('[subscriptions.s]\ntopic = "orders"\npush = { forward = "jobs" }', {"gcp"}, ".push.forward", "HTTPS alone"),
        ('[subscriptions.s]\ntopic = "ledger"\npush = { forward = "steps" }', {"gcp"}, ".push.forward", ""),
        (
            '[subscriptions.s]\ntopic = "ledger"\npush = { forward = "jobs" }',
            {"aws", "gcp"},
            ".push.forward",
            "instead: an ordered queue",
        ),
        (
            '[topics.t]\n[subscriptions.s]\ntopic = "orders"\npush = { forward = "t" }',
            {"aws", "gcp"},
            ".push.forward",
            "to queues, not to topics",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { forward = "jobs" }\n'
            '[subscriptions.r]\ntopic = "orders"\npush = { forward = "jobs" }',
            {"aws", "gcp"},
            ".push.forward",
            "$.subscriptions.s does",
        ),
        (CHAIN, {"aws", "azure", "gcp"}, ".push.forward", "as hop 5 from where it was published"),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { https = "https://a.b" }\nmax_attempts = 12',
            {"azure"},
            "",
            "",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { https = "https://a.b" }\nmax_attempts = 30',
            {"aws", "azure"},
            "$.subscriptions.s.",
            'SNS tries for 1h in all [SNS documentation]; instead: backoff = { maximum = "247s" }',
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { https = "https://a.b" }\nmax_attempts = 102',
            {"aws", "azure", "gcp"},
            "$.subscriptions.s.",
            "SNS tries HTTPS again up to 100 times [SNS documentation]; instead: 101",
        ),
        ('[alarms]\nnotify = { topic = "arn:aws:sns:r:1:t" }', {"azure", "gcp"}, "$.alarms.notify.topic", ""),
        ('[alarms]\nnotify = { topic = "projects/p/topics/t" }', {"aws", "azure"}, "$.alarms.notify.topic", "SNS"),
        (
            '[alarms]\nnotify = { topic = "/subscriptions/s/resourceGroups/g/providers/'
            'microsoft.insights/actiongroups/a" }',
            {"aws", "gcp"},
            "$.alarms.notify.topic",
            "instead: notify = { email",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "arn:aws:lambda:x:1:function:f" }',
            {"azure", "gcp"},
            ".push.function",
            "a name that the stack config resolves",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "arn:aws:lambda:x" }',
            {"aws", "azure", "gcp"},
            ".push.function",
            "",
        ),
        (
            '[topics.big]\nmax_message_size = "1MiB"\n[subscriptions.s]\ntopic = "big"\npush = { email = "a@b.c" }',
            {"aws", "azure", "gcp"},
            ".push.email",
            "",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\nfilter = """'
            + " or ".join(f'a{n} == "some value"' for n in range(5))
            + '"""',
            set(),
            "",
            "",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\nfilter = """'
            + " or ".join(f'a{n} == "a value much longer"' for n in range(6))
            + '"""',
            {"aws", "gcp"},
            "$.subscriptions.s.filter",
            "",
        ),
        (
            '[subscriptions.s]\ntopic = "news"\npush = { https = "https://in-12.europe-west1.run.app/x" }\n'
            '[subscriptions.t]\ntopic = "news"\npush = { https = "https://in-12.europe-west1.run.app/x" }\n'
            "[topics.news]",
            {"aws", "azure"},
            "push.https",
            "SNS subscribes an endpoint to a topic once; $.subscriptions.s does",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\nfilter = """a in ('
            + ", ".join(f'"value-{n:03}"' for n in range(100))
            + ')"""',
            {"azure", "gcp"},
            "$.subscriptions.s.filter",
            "once compiled and wrapped for redrive",
        ),
    ],
)
def test_what_a_cloud_cannot_do_is_refused_by_it_and_by_no_other(
    text: str, clouds: set[str], path: str, words: str
) -> None:
    found = errors(text)
    assert {finding.cloud for finding in found} == clouds
    for finding in found:
        assert path in finding.path
        assert finding.source
    assert not clouds or any(words in str(finding) for finding in found)


@pytest.mark.parametrize(
    ("text", "cloud", "path", "words"),
    [
        ('[queues.q]\nlease = "10m"', "azure", "$.queues.q.lease", "a lease is at most 5m here"),
        ('[queues.q]\nlease = "1h"', "gcp", "$.queues.q.lease", "extended while the consumer lives"),
        ("[queues.q]\nmax_attempts = 90", "gcp", "$.queues.q.max_attempts", "fewer than 20 more"),
        ("", "azure", "$", "keeps dead letters until they are redriven or purged"),
        ('[queues.q]\nmax_message_size = "1MiB"', "azure", "$.queues.q.max_message_size", "Premium"),
        ("[alarms]\nbacklog = 70", "azure", "$.alarms.oldest_age", "instead: the alarm of backlog, here at 70 waiting"),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "f" }\n[alarms]\ndead_letters = 3',
            "azure",
            "$.alarms.failed_pushes",
            "instead: the alarm of dead_letters, here at 3",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { email = "a@b.c" }\nmax_attempts = 9',
            "aws",
            "$.subscriptions.s.max_attempts",
            "its own number of attempts",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { https = "https://in-abc-uc.a.run.app/x" }',
            "gcp",
            "$.subscriptions.s.push.https",
            "roles/run.invoker on the service for the stack's pushAccount",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "mailer" }',
            "gcp",
            "$.subscriptions.s.push.function",
            "what the stack config resolves it to",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "mailer" }',
            "gcp",
            "$.subscriptions.s.push.function",
            "where the stack config has pushAccount",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { https = "https://a.b", raw = true }',
            "aws",
            "$.subscriptions.s.push.raw",
            "no signature: polybus.serverless.cloud_run refuses them",
        ),
        (
            '[subscriptions.s]\ntopic = "orders"\npush = { function = "mailer" }',
            "aws",
            "$.subscriptions.s.push.function",
            "the function's own on-failure destination, not to these dead letters",
        ),
        (
            '[subscriptions.s]\ntopic = "ledger"\npush = { forward = "steps" }',
            "azure",
            "$.subscriptions.s.push.forward",
            "their order isn't promised",
        ),
        (
            '[queues.q]\nexisting = "arn:aws:sqs:r:1:q"\n[subscriptions.s]\ntopic = "orders"\npush = { forward = "q" }',
            "aws",
            "$.subscriptions.s.push.forward",
            "it has to let the topic orders send",
        ),
        ("[alarms]", "aws", "$.alarms", "nobody is told"),
        ("[alarms]", "azure", "$.alarms", "nobody is told"),
        ("[alarms]", "gcp", "$.alarms", "nobody is told"),
        ('[queues.q]\nretention = "14d"', "aws", "$.queues.q.dead_letter_retention", "first enqueuing"),
    ],
)
def test_what_a_cloud_does_differently_is_noted_and_not_refused(text: str, cloud: str, path: str, words: str) -> None:
    assert any(finding.path == path and words in str(finding) for finding in notes(text, cloud))
    assert errors(text, cloud) == []


def test_no_failed_pushes_are_missed_where_nothing_is_pushed() -> None:
    assert "$.alarms.failed_pushes" not in {finding.path for finding in notes("[alarms]", "azure")}


@pytest.mark.parametrize("address", ["https://in-12.europe-west1.run.app/x", "https://example.com/in"])
def test_nothing_is_said_of_the_right_to_call_where_it_is_planned_or_of_no_concern(address: str) -> None:
    text = f'[subscriptions.s]\ntopic = "orders"\npush = {{ https = "{address}" }}'
    assert not [finding for finding in notes(text, "gcp") if "run.invoker" in str(finding)]


def consumer_of(count: int) -> str:
    """Declare a service that consumes so many queues: each puts two ARNs into its policy."""
    queues = "".join(f"[queues.a_queue_with_a_name_{number:03}]\n" for number in range(count))
    names = ", ".join(f'"a_queue_with_a_name_{number:03}"' for number in range(count))
    return f"{queues}[services.worker]\nconsumes = [{names}]\n"


def test_a_policy_that_is_too_long_for_iam_is_refused_and_one_that_may_be_is_noted() -> None:
    sizes = {count: (errors(consumer_of(count)), notes(consumer_of(count), "aws")) for count in (30, 39, 60)}
    refused = [(finding.cloud, finding.path) for finding in sizes[60][0]]
    assert refused == [("aws", "$.services.worker")]
    assert "; IAM allows 6,144, white space not counted" in str(sizes[60][0][0])
    assert [finding.path for finding in sizes[39][1] if "by region and key" in finding.found] == ["$.services.worker"]
    assert sizes[39][0] == sizes[30][0] == []
    assert not [finding for finding in sizes[30][1] if finding.path == "$.services.worker"]


def test_a_policy_is_refused_by_the_plan_of_a_stack_that_makes_it_too_long() -> None:
    declared = topology(consumer_of(39))
    aws.plan(declared, aws.AwsSettings(region="eu-west-1"))
    with pytest.raises(
        UnsupportedFeature, match=r"polybus.toml: at \$.services.worker: aws: found an IAM policy of 6,"
    ):
        aws.plan(declared, aws.AwsSettings(stack="production", region="ap-southeast-1"))


def test_the_length_of_a_policy_is_that_of_what_is_planned() -> None:
    declared = topology(consumer_of(60))
    (refused,) = errors(consumer_of(60))
    names = {f"a_queue_with_a_name_{number:03}" for number in range(60)}
    outputs = {
        f"{name}-{kind}": f"arn:aws:sqs:eu-west-1:123456789012:shop-{name}{more}"
        for name in names
        for kind, more in (("queue", ""), ("dead-letters", "-dead-letters"))
    }
    document = policies(declared, Arns(declared), None)["worker"]
    text = json.dumps(resolve(document, lambda ref: outputs[ref.resource]), separators=(",", ":"))
    assert f"{len(text):,} characters" in refused.found


def test_filters_of_one_topic_have_room_for_our_own_attributes() -> None:
    text = "".join(
        f'[subscriptions.s{n}]\ntopic = "orders"\nfilter = \'a{n} == "1" and b{n} == "1"\'\n' for n in range(4)
    )
    found = errors(text)
    assert [(finding.cloud, finding.path) for finding in found] == [("aws", "$.topics.orders")]
    assert "filters that name 10 attributes" in str(found[0])


def test_attributes_that_differ_in_case_alone_are_refused_where_they_are_one() -> None:
    found = errors("[subscriptions.s]\ntopic = \"orders\"\nfilter = 'exists(Region)'")
    assert [(finding.cloud, finding.path) for finding in found] == [("azure", "$.topics.orders")]
    assert "both Region and region" in str(found[0])


def test_a_fifo_topic_has_at_most_a_hundred_subscriptions() -> None:
    text = "".join(f'[subscriptions.s{n}]\ntopic = "ledger"\n' for n in range(99))
    found = errors(text)
    assert [(finding.cloud, finding.path) for finding in found] == [("aws", "$.topics.ledger")]


def test_a_reserved_physical_name_is_refused() -> None:
    found = check(loads('[bus]\nname = "google"\n[topics.t]\n', source="x"))
    assert [(finding.cloud, finding.path, finding.severity) for finding in found] == [
        ("gcp", "$.topics.t", Severity.ERROR)
    ]


def test_an_error_names_file_place_cloud_limit_source_and_what_works() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        refuse(topology('[queues.q]\nretention = "20d"'), "aws")
    assert str(caught.value) == (
        'polybus.toml: at $.queues.q.retention: aws: found 20d; allowed: 1m to 14d [AWS API model]; instead: "14d"'
    )


def test_sources_are_named_in_words() -> None:
    """No code of the table of limits is shown to somebody who has never seen that table."""
    text = '[topics.t]\nmax_delay = "1h"\n[queues.q]\nlease = "1s"\nretention = "90d"\n'
    sources = {finding.source for finding in check(topology(text))}
    assert {"AWS API model", "Service Bus quotas", "pulumi-gcp arguments"} <= sources
    assert all(" " in source for source in sources if source)


def test_errors_come_first() -> None:
    found = check(topology('[queues.q]\nlease = "10m"\nretention = "40d"'))
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, key=lambda severity: severity is Severity.NOTE)
    assert set(severities) == {Severity.ERROR, Severity.NOTE}
