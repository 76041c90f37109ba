"""Pass-through arguments: what the SDK doesn't know is refused with its place, and the table of names is the SDKs'.

POLYBUS_UPDATE_ARGUMENTS=1 pytest tests/unit/plan/test_options.py writes the table anew, for review.
"""

from __future__ import annotations

import dataclasses
import importlib
import importlib.metadata
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.clouds import CLOUDS

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.check import Finding, Severity, check
from polybus.plan.planning import planning_of
from polybus.plan.rules import consumed
from polybus.plan.values import Ref
from polybus.topology.file import loads
from polybus.topology.model import Queue, Subscription, Topic

from .test_arguments import class_of

SHOP = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n[queues.jobs]\n'
PUSH = '[subscriptions.call]\ntopic = "orders"\npush = { function = "f" }\n'
TYPES = (
    "aws:sns/topic:Topic",
    "aws:sns/topicSubscription:TopicSubscription",
    "aws:sqs/queue:Queue",
    "azure-native:servicebus:Queue",
    "azure-native:servicebus:Subscription",
    "azure-native:servicebus:Topic",
    "gcp:pubsub/subscription:Subscription",
    "gcp:pubsub/topic:Topic",
)
OURS = frozenset({"self", "__self__", "resource_name", "opts", "__props__"})
PLANNERS: Mapping[str, Callable[[str], Any]] = {
    "aws": lambda text: aws.plan(
        loads(text, source="x"), aws.AwsSettings(functions={"f": "arn:aws:lambda:r:1:function:f"})
    ),
    "azure": lambda text: azure.plan(
        loads(text, source="x"),
        azure.AzureSettings(functions={"f": azure.Principal("00000000-0000-0000-0000-000000000001")}),
    ),
    "gcp": lambda text: gcp.plan(loads(text, source="x"), gcp.GcpSettings(functions={"f": "https://f"})),
}


def refused(text: str, cloud: str) -> list[Finding]:
    return [found for found in check(loads(text, source="x"), cloud) if found.severity is Severity.ERROR]


def names_of(type_: str) -> list[str]:
    """Give every argument, those inside of another behind it and a dot."""
    return sorted(_dotted(type_, class_of(type_)._internal_init, ""))


def _dotted(type_: str, made: Any, within: str) -> Iterator[str]:
    for name, parameter in inspect.signature(made).parameters.items():
        if name not in OURS:
            yield f"{within}{name}"
            annotation = str(parameter.annotation)
            forms = sorted(set(re.findall(r"ForwardRef\('(\w+Args)'\)", annotation)))
            if len(forms) == 1 and "Mapping[" not in annotation:
                beside = sys.modules[class_of(type_).__module__.rpartition(".")[0]]
                yield from _dotted(type_, getattr(beside, forms[0]).__init__, f"{within}{name}.")


def written(cloud: str) -> str:
    """Write the module that holds a cloud's table."""
    package, _ = planning_of(cloud).sdk
    lines = [
        '"""The argument names of the resources that pass-through tables reach, by type, from the provider\'s SDK.',
        "",
        "tests/unit/plan/test_options.py compares it with the SDK that is installed, and writes it.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from collections.abc import Mapping",
        "from typing import Final",
        "",
        '__all__ = ["ARGUMENTS", "SDK"]',
        "",
        f'SDK: Final = ("{package}", "{importlib.metadata.version(package.replace("_", "-"))}")',
        "",
        "_NAMES: Final[Mapping[str, str]] = {",
    ]
    for type_ in types_of(cloud):
        names = textwrap.wrap(" ".join(names_of(type_)), width=108, break_long_words=False, break_on_hyphens=False)
        lines += [f'    "{type_}": """', *(f"        {line}" for line in names), '    """,']
    annotated = "ARGUMENTS: Final[Mapping[str, frozenset[str]]]"
    last = f"{annotated} = {{type_: frozenset(text.split()) for type_, text in _NAMES.items()}}"
    return "\n".join([*lines, "}", "", last]) + "\n"


def types_of(cloud: str) -> list[str]:
    return [type_ for type_ in TYPES if type_.startswith(f"{planning_of(cloud).provider}:")]


# The SDKs themselves warn, at import, of modules of theirs that moved.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_table_has_the_names_of_the_sdk(cloud: str) -> None:
    module = importlib.import_module(f"polybus.clouds.{cloud}.plan.arguments")
    if os.environ.get("POLYBUS_UPDATE_ARGUMENTS") == "1":
        Path(str(module.__file__)).write_text(written(cloud))
        importlib.reload(module)
    assert {type_: sorted(names) for type_, names in module.ARGUMENTS.items()} == {
        type_: names_of(type_) for type_ in types_of(cloud)
    }, "the SDK has other arguments by now: POLYBUS_UPDATE_ARGUMENTS=1 writes the table anew, for review"


@pytest.mark.parametrize(
    ("cloud", "table", "path", "words"),
    [
        (
            "aws",
            "[topics.orders.aws]\nkms_master_key = 'k'",
            "$.topics.orders.aws.kms_master_key",
            "aws:sns/topic:Topic has no such argument in pulumi_aws {version}; instead: kms_master_key_id",
        ),
        ("aws", "[queues.jobs.aws]\ndelay_second = 1", "$.queues.jobs.aws.delay_second", "instead: delay_seconds"),
        (
            "aws",
            '[subscriptions.call]\ntopic = "orders"\npush = { function = "f" }\naws = { delivery_polcy = "{}" }',
            "$.subscriptions.call.aws.delivery_polcy",
            "instead: delivery_policy",
        ),
        (
            "azure",
            "[subscriptions.billing.azure]\nrequire_session = true",
            "$.subscriptions.billing.azure.require_session",
            "instead: requires_session",
        ),
        ("gcp", "[queues.jobs.gcp]\nlabel = {}", "$.queues.jobs.gcp.label", "instead: labels"),
        (
            "gcp",
            "[topics.orders.gcp]\nzzzz = 1",
            "$.topics.orders.gcp.zzzz",
            "instead: deletion_policy, ingestion_data_source_settings, ",
        ),
        (
            "gcp",
            "[queues.jobs.gcp]\ndead_letter_policy = { max_delivery_attempt = 7 }",
            "$.queues.jobs.gcp.dead_letter_policy.max_delivery_attempt",
            "instead: max_delivery_attempts",
        ),
        (
            "gcp",
            "[queues.jobs.gcp]\nmessage_transforms = [{ javascript_udf = { functionName = 'f' } }]",
            "$.queues.jobs.gcp.message_transforms[0].javascript_udf.functionName",
            "instead: function_name",
        ),
        ("aws", "[queues.jobs.aws]\npolicy = '{}'", "$.queues.jobs.aws.policy", "aws:sqs/queuePolicy:QueuePolicy"),
        ("aws", "[topics.orders.aws]\npolicy = '{}'", "$.topics.orders.aws.policy", "a resource of its own"),
        (
            "aws",
            '[topics.old]\nexisting = "arn:aws:sns:r:1:old"\naws = { signature_version = 2 }',
            "$.topics.old.aws",
            "adopted as it is",
        ),
    ],
)
def test_an_argument_that_goes_nowhere_is_refused_with_its_place(cloud: str, table: str, path: str, words: str) -> None:
    (found,) = refused(f"{SHOP}{table}\n", cloud)
    assert found.path == path
    assert words.format(version=planning_of("aws").sdk[1]) in str(found)


def test_what_the_plan_attaches_itself_is_refused_in_the_order_of_the_file() -> None:
    names = ["redrive_policy", "policy", "redrive_allow_policy"]
    table = "\n".join(f"{name} = '{{}}'" for name in names)
    found = refused(f"{SHOP}[queues.jobs.aws]\n{table}\n", "aws")
    assert [finding.path.rpartition(".")[2] for finding in found] == names


def test_arguments_that_the_sdk_has_are_passed_on() -> None:
    text = f"{SHOP}[topics.orders.aws]\nsignature_version = 2\n[topics.orders.gcp]\nkms_key_name = 'k'\n"
    text += "[topics.orders.gcp.labels]\nanything = 'goes'\n"
    text += "[topics.orders.gcp.message_storage_policy]\nallowed_persistence_regions = ['europe-west1']\n"
    assert refused(text, "aws") == refused(text, "gcp") == refused(text, "azure") == []


@pytest.mark.parametrize("cloud", sorted(PLANNERS))
def test_arguments_are_held_to_the_resource_that_they_reach(cloud: str) -> None:
    """What the check looks up has to be where the plan puts them."""
    declared = loads(SHOP + PUSH, source="x")
    entries: tuple[Topic | Subscription | Queue, ...] = (*declared.topics.values(), *consumed(declared))
    for entry in entries:
        section = {"Topic": "topics", "Subscription": "subscriptions", "Queue": "queues"}[type(entry).__name__]
        name = sorted(planning_of(cloud).arguments[str(planning_of(cloud).pass_through(entry))])[-1]
        marked = f'{SHOP}{PUSH}[{section}.{entry.name}.{cloud}]\n{name} = "as given"\n'
        reached = {made.type for made in PLANNERS[cloud](marked).resources if made.properties.get(name) == "as given"}
        assert reached == {planning_of(cloud).pass_through(entry)}


def test_options_pass_through_to_the_one_resource() -> None:
    text = f"{SHOP}[topics.orders.aws]\nsignature_version = 2\n[queues.jobs.azure]\nmax_size_in_megabytes = 5120\n"
    for cloud, name, argument in (
        ("aws", "orders-topic", "signature_version"),
        ("azure", "jobs-queue", "max_size_in_megabytes"),
    ):
        made = {resource.name for resource in PLANNERS[cloud](text).resources if argument in resource.properties}
        assert made == {name}


def test_a_table_inside_an_argument_adds_to_what_is_planned() -> None:
    """Else a topic would lose its regions, a subscription its dead letters, a queue the tags that tell whose it is."""
    text = f"""{SHOP}
[queues.jobs.gcp]
dead_letter_policy = {{ max_delivery_attempts = 77 }}
[topics.orders.gcp.message_storage_policy]
enforce_in_transit = true
[queues.jobs.aws.tags]
team = "a"
"""
    found = {made.name: made.properties for made in PLANNERS["gcp"](text).resources}
    assert found["jobs-subscription"]["dead_letter_policy"] == {
        "dead_letter_topic": Ref("jobs-dead-letters-topic", "id"),
        "max_delivery_attempts": 77,
    }
    regions = gcp.GcpSettings(regions=("europe-west1",))
    [topic] = [made for made in gcp.plan(loads(text, source="x"), regions).resources if made.name == "orders-topic"]
    assert topic.properties["message_storage_policy"] == {
        "allowed_persistence_regions": ["europe-west1"],
        "enforce_in_transit": True,
    }
    [queue] = [made for made in PLANNERS["aws"](text).resources if made.name == "jobs-queue"]
    assert queue.properties["tags"] == {"polybus-bus": "shop", "team": "a"}


@pytest.mark.parametrize(
    ("cloud", "entry", "found"),
    [
        ("aws", '[queues.jobs]\n[queues.jobs.aws]\nname = "my jobs"', "my jobs"),
        ("aws", '[queues.jobs]\nordered = true\n[queues.jobs.aws]\nname = "jobs"', "jobs"),
        ("aws", '[topics.jobs]\n[topics.jobs.aws]\nname = "jobs.fifo"', "jobs.fifo"),
        ("azure", '[topics.jobs]\n[topics.jobs.azure]\ntopic_name = "jobs-"', "jobs-"),
        ("gcp", '[topics.jobs]\n[topics.jobs.gcp]\nname = "google-jobs"', "google-jobs"),
    ],
)
def test_a_physical_name_that_the_cloud_does_not_take_is_refused(cloud: str, entry: str, found: str) -> None:
    findings = check(loads(f'[bus]\nname = "shop"\n{entry}\n', source="polybus.toml"), cloud)
    [finding] = [finding for finding in findings if finding.path.endswith("name")]
    assert (finding.found, finding.severity) == (found, "error")
    assert finding.limit.startswith("allowed: ")


@pytest.mark.parametrize(
    ("cloud", "entry"),
    [
        ("aws", '[queues.jobs]\nordered = true\n[queues.jobs.aws]\nname = "jobs.fifo"'),
        ("azure", '[queues.jobs]\n[queues.jobs.azure]\nqueue_name = "team/jobs"'),
        ("gcp", '[queues.jobs]\n[queues.jobs.gcp]\nname = "jobs"'),
    ],
)
def test_a_physical_name_that_the_cloud_takes_is_passed_on(cloud: str, entry: str) -> None:
    findings = check(loads(f'[bus]\nname = "shop"\n{entry}\n', source="polybus.toml"), cloud)
    assert [finding for finding in findings if finding.path.endswith("name")] == []


def test_a_cloud_that_takes_no_arguments_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    without = dataclasses.replace(planning_of("gcp"), pass_through=lambda entry: None)
    monkeypatch.setattr("polybus.plan.options.planning_of", lambda cloud: without)
    topology = loads(
        SHOP + "[topics.orders.gcp]\nlabels = {}\n[subscriptions.billing.gcp]\nfilter = ''\n", source="shop.toml"
    )
    found = {finding.path: finding.limit for finding in check(topology, "gcp") if finding.severity is Severity.ERROR}
    assert found == dict.fromkeys(
        ("$.topics.orders.gcp", "$.subscriptions.billing.gcp"), "nothing here takes arguments"
    )
