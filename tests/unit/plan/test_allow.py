"""Who else may come in: what `[[topics.x.allow]]` and `[[queues.x.allow]]` say, and become on AWS."""

from __future__ import annotations

from typing import Any

import pytest

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.aws.plan.planning import PLANNING
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.errors import ConfigError, TopologyError, UnsupportedFeature
from polybus.plan.check import Severity, check
from polybus.plan.policy import item_of, violations
from polybus.plan.values import Ref
from polybus.topology.file import loads
from polybus.topology.model import Allow, Topology, digest

from .shop import by_name

HEAD = '[bus]\nname = "shop"\n[topics.news]\n[topics.orders]\nordered = true\n[queues.jobs]\n'
S3 = """
[[topics.news.allow]]
principal = "s3.amazonaws.com"
actions = ["publish"]
conditions = { "aws:SourceArn" = "arn:aws:s3:::uploads", "aws:SourceAccount" = "111122223333" }
"""
OTHERS = """
[[topics.news.allow]]
principal = "444455556666"
actions = ["publish", "subscribe"]
[[queues.jobs.allow]]
principal = "arn:aws:iam::444455556666:role/team/worker"
actions = ["consume"]
conditions = { "aws:PrincipalOrgID" = "o-1" }
[[queues.jobs.allow]]
principal = "events.amazonaws.com"
actions = ["publish"]
cloud = "aws"
conditions = { "aws:SourceArn" = ["arn:aws:events:eu-west-1:1:rule/a", "arn:aws:events:eu-west-1:1:rule/b*"] }
"""
KEY = "arn:aws:kms:eu-west-1:12:key/k"


def topology(more: str) -> Topology:
    return loads(HEAD + more, source="polybus.toml")


def statements(name: str, text: str, **settings: Any) -> list[Any]:
    plan = aws.plan(topology(text), aws.AwsSettings(**settings))
    assert violations([item_of(resource) for resource in plan.resources]) == []
    found: list[Any] = by_name(plan)[name].properties["policy"].value["Statement"]
    return found


def errors(more: str, cloud: str = "aws") -> list[str]:
    return [str(found) for found in check(topology(more), cloud) if found.severity is Severity.ERROR]


def test_the_topology_says_who_and_what_and_for_whom() -> None:
    conditions = {"aws:SourceArn": ("arn:aws:s3:::uploads",), "aws:SourceAccount": ("111122223333",)}
    assert topology(S3).topics["news"].allow == (Allow("s3.amazonaws.com", ("publish",), conditions),)
    role, events = topology(OTHERS).queues["jobs"].allow
    assert (role.actions, events.cloud, len(events.conditions["aws:SourceArn"])) == (("consume",), "aws", 2)
    assert digest(topology(S3)) != digest(topology(""))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[[topics.news.allow]]\nactions = ['publish']",
            "at $.topics.news.allow[0].principal: found nothing; allowed: who",
        ),
        (
            "[[topics.news.allow]]\nprincipal = 'x'",
            "at $.topics.news.allow[0].actions: found nothing; allowed: a list of",
        ),
        (
            "[[topics.news.allow]]\nprincipal = 'x'\nactions = ['consume']",
            'found ["consume"]; allowed: a list of publish',
        ),
        ("[[queues.jobs.allow]]\nprincipal = 'x'\nactions = ['subscribe']", "a list of publish and consume"),
        ("[[queues.jobs.allow]]\nprincipal = 'x'\nactions = ['consume']\ncloud = 'amazon'", "allowed: aws, azure, gcp"),
        ("[[queues.jobs.allow]]\nprincipal = 'x'\nactions = ['consume']\nwho = 'y'", "unknown key who"),
        ("[queues.jobs.allow]\nprincipal = 'x'", "allowed: an array of tables"),
        ("[[queues.jobs.allow]]\nconditions = { a = 1 }", "a text, or a list of texts"),
    ],
)
def test_what_it_says_wrongly_is_refused(text: str, words: str) -> None:
    with pytest.raises(TopologyError) as raised:
        topology(text)
    assert words in str(raised.value)


def test_a_service_of_aws_s_comes_in_for_whom_it_is_said() -> None:
    allow, deny = statements("news-topic-access", S3)
    assert allow == {
        "Sid": "Allow1",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": ["sns:Publish"],
        "Resource": Ref("news-topic", "arn"),
        "Condition": {
            "ArnLike": {"aws:SourceArn": "arn:aws:s3:::uploads"},
            "StringEquals": {"aws:SourceAccount": "111122223333"},
        },
    }
    assert deny["Effect"] == "Deny"


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), (None, "aws")],
)
def test_other_accounts_and_their_roles_come_in(region: str | None, partition: str) -> None:
    account, _ = statements("news-topic-access", OTHERS, region=region)
    assert account["Principal"] == {"AWS": f"arn:{partition}:iam::444455556666:root"}
    assert account["Action"] == ["sns:Publish", "sns:Subscribe"]
    role, events, _ = statements("jobs-queue-access", OTHERS, region=region)
    assert role["Principal"] == {"AWS": "arn:aws:iam::444455556666:role/team/worker"}
    assert {"sqs:ReceiveMessage", "sqs:DeleteMessage"} < set(role["Action"])
    assert role["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
    assert (role["Sid"], events["Sid"]) == ("Allow1", "Allow2")
    assert len(events["Condition"]["ArnLike"]["aws:SourceArn"]) == 2


def test_the_key_s_policy_has_them_too() -> None:
    plan = aws.plan(topology(S3 + OTHERS), aws.AwsSettings(kms_key=KEY))
    _, *others = aws.exports(plan)["keyPolicy"].value["Statement"]
    assert [(item["Sid"], item["Principal"], item["Resource"]) for item in others] == [
        ("AllowOthers1", {"Service": "s3.amazonaws.com"}, KEY),
        ("AllowOthers2", {"AWS": "arn:aws:iam::444455556666:root"}, KEY),
        ("AllowOthers3", {"AWS": "arn:aws:iam::444455556666:role/team/worker"}, KEY),
        ("AllowOthers4", {"Service": "events.amazonaws.com"}, KEY),
    ]
    assert others[0]["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}


def test_a_service_needs_a_key_of_the_stack_s_configuration_for_a_topic() -> None:
    with pytest.raises(
        ConfigError, match=r"news.allow\[0\]: aws: found s3.amazonaws.com, which can't use SNS's own key"
    ):
        PLANNING.plan(topology(S3), aws.AwsSettings())
    PLANNING.plan(topology(S3), aws.AwsSettings(kms_key=KEY))
    PLANNING.plan(topology(OTHERS), aws.AwsSettings())  # queues are encrypted by SQS itself
    assert [found for found in check(topology(S3), "aws") if "can't use SNS's own key" in str(found)]


@pytest.mark.parametrize(
    ("principal", "conditions", "words"),
    [
        ("*", "", "allowed: a service such as s3.amazonaws.com"),
        ("arn:aws:iam::1:role/x", "", "allowed: a service such as"),
        ("arn:aws:iam::444455556666:role/*", "", "allowed: a service such as"),
        ("s3.amazonaws.com", "", "the confused deputy problem"),
        ("s3.amazonaws.com", '"aws:PrincipalOrgID" = "o-1"', "the confused deputy problem"),
        ("s3.amazonaws.com", '"aws:SourceArn" = "arn:*"', "such a condition always holds"),
        ("444455556666", '"aws:SourceIp" = "10.0.0.1"', "allowed: aws:SourceArn"),
    ],
)
def test_whom_aws_would_let_in_too_widely_is_refused(principal: str, conditions: str, words: str) -> None:
    text = f'[[topics.news.allow]]\nprincipal = "{principal}"\nactions = ["publish"]\nconditions = {{ {conditions} }}\n'
    assert any(words in found for found in errors(text))
    with pytest.raises(UnsupportedFeature):
        aws.plan(topology(text))


def test_what_is_adopted_keeps_its_own_policy() -> None:
    text = S3.replace("topics.news", "topics.old") + '[topics.old]\nexisting = "arn:aws:sns:eu-west-1:1:old"\n'
    declared = text.replace("[[topics.old.allow]]", "[[topics.old.allow]]", 1)
    assert any("what is adopted keeps its own policy" in found for found in errors(_adopted(declared)))


def _adopted(text: str) -> str:
    """Write the topic before what is allowed on it, as TOML wants."""
    head, _, existing = text.partition("[topics.old]\n")
    return f"[topics.old]\n{existing}{head}"


@pytest.mark.parametrize("cloud", ["azure", "gcp"])
def test_other_clouds_refuse_it_by_name_unless_it_is_meant_for_aws(cloud: str) -> None:
    found = errors(S3, cloud)
    assert any("at $.topics.news.allow[0].principal" in line and "s3.amazonaws.com" in line for line in found)
    assert any("at $.topics.news.allow[0].conditions" in line and "makes no conditions" in line for line in found)
    meant = S3.replace("actions =", 'cloud = "aws"\nactions =')
    assert not [found for found in errors(meant, cloud) if "allow" in found]
    elsewhere = S3.replace("actions =", 'cloud = "gcp"\nactions =')
    assert errors(elsewhere) == []


ID = "00000000-0000-0000-0000-00000000000a"


def let_in(principal: str, actions: str) -> str:
    return (
        f'[[topics.news.allow]]\nprincipal = "{principal}"\nactions = [{actions}]\n'
        f'[[queues.jobs.allow]]\nprincipal = "{principal}"\nactions = ["publish", "consume"]\n'
        '[services.worker]\npublishes = ["news"]\n'
    )


def test_azure_assigns_roles_each_once() -> None:
    text = let_in(f"Group/{ID}", '"publish"')
    same = azure.AzureSettings(principals={"worker": azure.Principal(ID, "Group")})
    for settings in (azure.AzureSettings(), same):
        plan = azure.plan(topology(text), settings)
        rights = [item.properties for item in plan.resources if item.type.endswith(":RoleAssignment")]
        found = {(given["role_definition_id"].rpartition("/")[2], str(given["scope"])) for given in rights}
        assert len(rights) == len(found) == 3
        assert {(given["principal_id"], given["principal_type"]) for given in rights} == {(ID, "Group")}
    assert any("subscriptions that are there" in line for line in errors(let_in(ID, '"subscribe"'), "azure"))
    assert any("an object id in Entra ID" in line for line in errors(let_in("app", '"publish"'), "azure"))


def test_google_grants_roles_each_once() -> None:
    member = "serviceAccount:other@elsewhere.iam.gserviceaccount.com"
    text = let_in(member, '"publish", "subscribe"')
    for members in ({}, {"worker": member}):
        plan = gcp.plan(topology(text), gcp.GcpSettings(project="p", project_number="1", members=members))
        given = [item.properties for item in plan.resources if item.properties.get("member") == member]
        found = sorted((str(one.get("topic") or one["subscription"]), one["role"]) for one in given)
        assert found == [
            ("${jobs-subscription.name}", "roles/pubsub.subscriber"),
            ("${jobs-topic.id}", "roles/pubsub.publisher"),
            ("${news-topic.id}", "roles/pubsub.publisher"),
            ("${news-topic.id}", "roles/pubsub.subscriber"),
        ]
    assert any("not allUsers" in line for line in errors(let_in("allUsers", '"publish"'), "gcp"))
