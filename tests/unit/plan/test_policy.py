"""The rules that every stack keeps: plans break none, and each rule sees what breaks it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from tests.clouds import CLOUDS

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.policy import Item, item_of, public_access, rules, stack_rules, violations
from polybus.plan.values import Ref, Resource
from polybus.topology.file import loads
from polybus.topology.model import Topology

from .shop import ONE, OTHER, SUBNET
from .strategies import topologies

PUSHES = """
[bus]
name = "shop"
[topics.t]
[topics.o]
ordered = true
[subscriptions.pull]
topic = "o"
[subscriptions.hook]
topic = "t"
push = { https = "https://example.com" }
[queues.q]
[alarms]
notify = { email = "ops@example.com" }
"""
PLANNERS: Mapping[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}
SETTINGS: Mapping[str, Any] = {
    "aws": [
        aws.AwsSettings(stack="dev", roles={"worker": "w", "keeper": "k"}),
        aws.AwsSettings(kms_key="arn:aws:kms:eu-west-1:1:key/k", roles={"worker": "w"}),
    ],
    "azure": [
        azure.AzureSettings(stack="dev", principals={"worker": azure.Principal(ONE), "keeper": azure.Principal(OTHER)}),
        azure.AzureSettings(sku="Premium", subnet=SUBNET),
    ],
    "gcp": [
        gcp.GcpSettings(stack="dev", project="p", members={"worker": "serviceAccount:w@p", "keeper": "user:k"}),
        gcp.GcpSettings(project="p", project_number="42", kms_key="projects/p/locations/l/keyRings/r/cryptoKeys/k"),
    ],
}
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)
many = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow], deadline=None)


@each_cloud
@many
@given(topology=topologies())
def test_no_plan_breaks_a_rule(cloud: str, topology: Topology) -> None:
    for chosen in SETTINGS[cloud]:
        plan = PLANNERS[cloud].plan(topology, chosen)
        items = [item_of(resource) for resource in plan.resources]
        assert violations(items, public=getattr(chosen, "subnet", None) is None) == []


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_pushes_and_alarms_break_none(cloud: str) -> None:
    plan = PLANNERS[cloud].plan(loads(PUSHES.replace("ordered = true\n", ""), source="polybus.toml"))
    assert violations([item_of(resource) for resource in plan.resources]) == []


def planned(cloud: str) -> list[Resource]:
    text = (
        PUSHES
        if cloud != "azure"
        else PUSHES.replace("[subscriptions.hook]\ntopic", "[queues.x]\n#").replace("push =", "# push =")
    )
    return list(PLANNERS[cloud].plan(loads(text, source="polybus.toml")).resources)


def broken(cloud: str, name: str, **properties: Any) -> set[tuple[str, str]]:
    """Give the rules that break, and where, once the properties of one resource are other ones; None removes."""
    found: list[Resource] = []
    for resource in planned(cloud):
        if resource.name == name:
            resource = Resource(
                resource.type, name, {**resource.properties, **properties}, resource.kind, resource.entry
            )
        found.append(resource)
    assert name in {resource.name for resource in found}
    return {(violation.rule, violation.resource) for violation in violations([item_of(item) for item in found])}


def without(cloud: str, name: str) -> set[tuple[str, str]]:
    """Give the rules that break once one resource is gone."""
    rest = [resource for resource in planned(cloud) if resource.name != name]
    assert len(rest) == len(planned(cloud)) - 1
    return {(violation.rule, violation.resource) for violation in violations([item_of(item) for item in rest])}


DENY = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "sqs:*",
    "Resource": "*",
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_plans_below_are_good_before_they_are_broken(cloud: str) -> None:
    assert violations([item_of(resource) for resource in planned(cloud)]) == []


@pytest.mark.parametrize(
    ("name", "properties"),
    [("q-queue", {"sqs_managed_sse_enabled": False}), ("q-dead-letters", {"sqs_managed_sse_enabled": None})],
)
def test_a_queue_without_encryption(name: str, properties: dict[str, Any]) -> None:
    assert broken("aws", name, **properties) == {("encryption", name)}


def test_a_topic_without_encryption() -> None:
    assert broken("aws", "t-topic", kms_master_key_id=None) == {("encryption", "t-topic")}


@pytest.mark.parametrize("name", ["q-queue-access", "t-topic-access"])
@pytest.mark.parametrize(
    "statement",
    [
        {**DENY, "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "a", "Resource": "r"},
        {**DENY, "Principal": {"AWS": "arn:aws:iam::1:root"}},
        {**DENY, "Condition": {"Bool": {"aws:SecureTransport": "true"}}},
    ],
)
def test_a_policy_that_lets_in_what_comes_without_tls(name: str, statement: dict[str, Any]) -> None:
    assert broken("aws", name, policy=json.dumps({"Statement": [statement]})) == {("tls-only", name)}


@pytest.mark.parametrize("name", ["hook-subscription", "pull-subscription"])
def test_a_subscription_that_drops_what_can_not_be_delivered(name: str) -> None:
    assert ("dead-letters", name) in broken("aws", name, redrive_policy=None)


def test_a_queue_or_topic_without_a_policy() -> None:
    assert without("aws", "q-queue-access") == {("tls-everywhere", "q-queue")}
    assert without("aws", "t-topic-access") == {("tls-everywhere", "t-topic")}


def test_old_tls_and_plain_http() -> None:
    assert broken("azure", "namespace", minimum_tls_version="1.0") == {("tls-only", "namespace")}
    assert broken("azure", "namespace", minimum_tls_version=None) == {("tls-only", "namespace")}
    assert broken("aws", "hook-subscription", protocol="http") == {("tls-only", "hook-subscription")}
    config = {"push_endpoint": "http://example.com"}
    assert broken("gcp", "hook-subscription", push_config=config) == {("tls-only", "hook-subscription")}


@pytest.mark.parametrize(
    "part",
    [
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["arn:aws:iam::1:root", "*"]}},
        {"Action": "sqs:*"},
        {"Action": ["sqs:SendMessage", "sqs:Receive*"]},
        {"Resource": "*"},
        {"Resource": ["arn:aws:sqs:eu-west-1:1:*"]},
        {"NotAction": "sqs:DeleteQueue"},
        {"NotPrincipal": {"AWS": "arn:aws:iam::1:root"}},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("whole", [True, False])
def test_a_wildcard_in_what_is_allowed(part: dict[str, Any], whole: bool) -> None:
    good = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::1:root"}, "Action": "sqs:SendMessage"}
    allow = {**good, "Resource": "arn:aws:sqs:eu-west-1:1:q", **part}
    document = {"Statement": [allow, DENY]}
    assert broken("aws", "q-queue-access", policy=json.dumps(document)) == {("no-wildcards", "q-queue-access")}
    [rule] = [rule for rule in rules() if rule.name == "no-wildcards"]
    policy = {"Statement": allow} if whole else {"Statement": [allow]}
    assert list(rule.check("aws:iam/policy:Policy", {"policy": json.dumps(policy)}))


GROUP = "arn:aws:logs:eu-west-1:1:log-group:sns/eu-west-1/1/orders"


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        (GROUP, True),
        (f"{GROUP}:*", True),
        ([GROUP, f"{GROUP}/Failure:*"], True),
        (f"{GROUP}*", False),
        (f"{GROUP}*:*", False),
        ("arn:aws:logs:eu-west-1:1:*", False),
        ("arn:aws:logs:*:1:log-group:orders:*", False),
        ("arn:aws:sqs:eu-west-1:1:orders:*", False),
        ([f"{GROUP}:*", "*"], False),
    ],
)
def test_only_the_streams_of_one_log_group_may_be_any(resource: Any, allowed: bool) -> None:
    [rule] = [rule for rule in rules() if rule.name == "no-wildcards"]
    statement = {"Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": resource}
    given = {"policy": json.dumps({"Statement": [statement]})}
    for type_ in ("aws:iam/policy:Policy", "aws:iam/rolePolicy:RolePolicy"):
        assert (list(rule.check(type_, given)) == []) is allowed


@pytest.mark.parametrize(
    ("resource", "allowed"),
    [
        ("arn:aws:s3:::shop-bodies-1-eu-west-1/polybus/shop/*", True),
        ("${bus.bodies-bucket.arn}/polybus/shop/*", True),
        ("arn:aws:s3:::shop-bodies-1-eu-west-1/*", False),
        ("arn:aws:s3:::shop-*/polybus/shop/*", False),
        ("arn:aws:s3:::shop-bodies-1-eu-west-1/polybus/*/*", False),
        ("arn:aws:s3:::shop-bodies-1-eu-west-1/polybus/shop*", False),
        ("arn:aws:sqs:eu-west-1:1:orders/polybus/shop/*", False),
    ],
)
def test_only_one_bus_s_bodies_in_one_bucket_may_be_any(resource: str, allowed: bool) -> None:
    [rule] = [rule for rule in rules() if rule.name == "no-wildcards"]
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": [resource]}
    given = {"policy": json.dumps({"Statement": [statement]})}
    assert (list(rule.check("aws:iam/policy:Policy", given)) == []) is allowed


def bodies_of(cloud: str) -> list[Resource]:
    text = 'large_bodies = { over = "200KiB" }\n[bus]\nname = "shop"\n[queues.q]\n'
    return list(PLANNERS[cloud].plan(loads(text, source="polybus.toml"), WITH_BODIES[cloud]).resources)


WITH_BODIES: Mapping[str, Any] = {
    "aws": aws.AwsSettings(stack="dev"),
    "azure": azure.AzureSettings(stack="dev"),
    "gcp": gcp.GcpSettings(project="p", regions=("europe-west1",)),
}


def found_in_bodies(cloud: str, name: str, **changed: Any) -> set[tuple[str, str]]:
    """Give what breaks once one resource has other properties; without any, once it is gone."""
    found: list[Resource] = []
    for resource in bodies_of(cloud):
        if resource.name != name:
            found.append(resource)
        elif changed:
            properties = {**resource.properties, **changed}
            found.append(Resource(resource.type, name, properties, resource.kind, resource.entry))
    return {(one.rule, one.resource) for one in violations([item_of(item) for item in found])}


def test_bodies_that_others_may_read() -> None:
    assert violations([item_of(item) for item in bodies_of("aws")]) == []
    bad = {("bodies", "bus.bodies-bucket")}
    assert found_in_bodies("aws", "bus.bodies-access") == bad
    assert found_in_bodies("aws", "bus.bodies-access", policy='{"Statement": []}') == bad
    assert found_in_bodies("aws", "bus.bodies-access", policy=Ref("x", "y")) == set()
    assert found_in_bodies("aws", "bus.bodies-private") == bad
    assert found_in_bodies("aws", "bus.bodies-private", block_public_policy=False) == bad
    assert violations([Item("aws:s3/bucket:Bucket", "theirs", {"bucket": "a-website"})]) == []
    assert violations([item_of(item) for item in bodies_of("azure")]) == []
    for name, value in {
        "allow_blob_public_access": True,
        "allow_shared_key_access": None,
        "minimum_tls_version": "TLS1_0",
        "enable_https_traffic_only": False,
    }.items():
        assert found_in_bodies("azure", "bus.bodies-account", **{name: value}) == {("bodies", "bus.bodies-account")}
    assert violations([Item("azure-native:storage:StorageAccount", "theirs", {"account_name": "website"})]) == []
    assert violations([item_of(item) for item in bodies_of("gcp")]) == []
    assert found_in_bodies("gcp", "bus.bodies-bucket", public_access_prevention="inherited") == bad
    assert found_in_bodies("gcp", "bus.bodies-bucket", uniform_bucket_level_access=None) == bad
    assert violations([Item("gcp:storage/bucket:Bucket", "theirs", {"name": "a-website"})]) == []


def test_a_role_that_anybody_may_assume() -> None:
    [rule] = [rule for rule in rules() if rule.name == "no-wildcards"]
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    assert list(rule.check("aws:iam/role:Role", {"assume_role_policy": json.dumps({"Statement": [trust]})}))


def test_everyone_on_google_and_any_caller_of_a_function() -> None:
    [rule] = [rule for rule in rules() if rule.name == "no-wildcards"]
    for member in ("allUsers", "allAuthenticatedUsers"):
        given = {"role": "roles/pubsub.publisher", "member": member}
        assert list(rule.check("gcp:pubsub/topicIAMMember:TopicIAMMember", given))
        assert list(rule.check("gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember", given))
    permission = "aws:lambda/permission:Permission"
    assert list(rule.check(permission, {"principal": "*", "source_arn": "arn"}))
    assert list(rule.check(permission, {"principal": "sns.amazonaws.com"}))
    assert not list(rule.check(permission, {"principal": "sns.amazonaws.com", "source_arn": "arn"}))


def test_connection_strings() -> None:
    assert broken("azure", "namespace", disable_local_auth=False) == {("no-local-auth", "namespace")}
    assert broken("azure", "namespace", disable_local_auth=None) == {("no-local-auth", "namespace")}


def test_public_access_is_said_and_as_declared() -> None:
    assert broken("azure", "namespace", public_network_access=None) == {("public-access", "namespace")}
    namespace = "azure-native:servicebus:Namespace"
    for declared, good, bad in ((True, "Enabled", "Disabled"), (False, "Disabled", "Enabled")):
        check = public_access(declared).check
        assert not list(check(namespace, {"public_network_access": good}))
        assert list(check(namespace, {"public_network_access": bad}))


@pytest.mark.parametrize(
    ("cloud", "name", "properties"),
    [
        ("aws", "hook-subscription", {"redrive_policy": None}),
        ("azure", "q-queue", {"max_delivery_count": None}),
        ("azure", "pull-subscription", {"dead_lettering_on_filter_evaluation_exceptions": False}),
        ("gcp", "q-subscription", {"dead_letter_policy": None}),
    ],
)
def test_dead_letters_with_nowhere_to_go(cloud: str, name: str, properties: dict[str, Any]) -> None:
    assert ("dead-letters", name) in broken(cloud, name, **properties)


def test_dead_letters_that_nobody_keeps_or_may_forward() -> None:
    assert without("aws", "q-redrive") == {("dead-letters", "q-queue"), ("dead-letters", "q-dead-letters")}
    assert ("dead-letters", "q-subscription") in without("gcp", "q-dead-letters")
    assert without("gcp", "q-agent") == {("dead-letters", "q-subscription")}
    assert without("gcp", "q-dead-letters-agent") == {("dead-letters", "q-subscription")}


def test_what_is_not_known_yet_is_not_judged() -> None:
    unknown = Ref("q-queue", "?")
    assert broken("aws", "q-queue-access", policy=unknown) == set()
    assert broken("aws", "t-topic", kms_master_key_id=unknown) == set()


def test_every_rule_has_a_name_of_its_own_and_leaves_others_resources_alone() -> None:
    names = [rule.name for rule in (*rules(), *stack_rules(), public_access())]
    assert len(set(names)) == len(names)
    assert violations([Item("random:index/randomId:RandomId", "id", {"byte_length": 8})]) == []
