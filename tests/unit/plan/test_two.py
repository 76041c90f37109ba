"""Two of anything in one account share nothing: no name, and no right that one of them could take from the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import Diagnostics
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.values import Json, Ref, Resource, resolve
from polybus.topology.file import loads
from polybus.topology.model import Topology

# By type: what tells one resource from another, and whether a region has names of its own there. Of rights it is who
# may do what where: of such there is one, whoever made it.
REGIONAL: Mapping[str, tuple[str, ...]] = {
    "aws:sns/topic:Topic": ("name",),
    "aws:sqs/queue:Queue": ("name",),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("name",),
    "aws:cloudwatch/compositeAlarm:CompositeAlarm": ("alarm_name",),
    "aws:cloudwatch/logGroup:LogGroup": ("name",),
}
GLOBAL: Mapping[str, tuple[str, ...]] = {
    "aws:sns/topicPolicy:TopicPolicy": ("arn",),
    "aws:sns/topicSubscription:TopicSubscription": ("topic", "protocol", "endpoint"),
    "aws:sqs/queuePolicy:QueuePolicy": ("queue_url",),
    "aws:sqs/redrivePolicy:RedrivePolicy": ("queue_url",),
    "aws:sqs/redriveAllowPolicy:RedriveAllowPolicy": ("queue_url",),
    "aws:iam/policy:Policy": ("name",),
    "aws:iam/role:Role": ("name",),
    "aws:iam/rolePolicy:RolePolicy": ("role", "name"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("role", "policy_arn"),
    "aws:cloudwatch/dashboard:Dashboard": ("dashboard_name",),
    "aws:lambda/permission:Permission": ("function", "source_arn"),
    "azure-native:resources:ResourceGroup": ("resource_group_name",),
    "azure-native:servicebus:Namespace": ("namespace_name",),
    "azure-native:servicebus:Topic": ("namespace_name", "topic_name"),
    "azure-native:servicebus:Queue": ("namespace_name", "queue_name"),
    "azure-native:servicebus:Subscription": ("namespace_name", "topic_name", "subscription_name"),
    "azure-native:servicebus:DefaultRule": ("namespace_name", "topic_name", "subscription_name"),
    "azure-native:authorization:RoleAssignment": ("principal_id", "role_definition_id", "scope"),
    "azure-native:monitor:ActionGroup": ("resource_group_name", "action_group_name"),
    "azure-native:monitor:MetricAlert": ("resource_group_name", "rule_name"),
    "azure-native:monitor:DiagnosticSetting": ("resource_uri", "name"),
    "azure-native:keyvault:Secret": ("vault_name", "secret_name"),
    "azure-native:appconfiguration:KeyValue": ("config_store_name", "key_value_name"),
    "azure-native:portal:Dashboard": ("resource_group_name", "dashboard_name"),
    "gcp:pubsub/topic:Topic": ("project", "name"),
    "gcp:pubsub/subscription:Subscription": ("project", "name"),
    "gcp:pubsub/topicIAMMember:TopicIAMMember": ("project", "topic", "role", "member"),
    "gcp:pubsub/subscriptionIAMMember:SubscriptionIAMMember": ("project", "subscription", "role", "member"),
    "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember": ("crypto_key_id", "role", "member"),
    "gcp:cloudrunv2/serviceIamMember:ServiceIamMember": ("project", "location", "name", "role", "member"),
}
UNNAMED = (
    # These have ids that the cloud chooses.
    "gcp:monitoring/notificationChannel:NotificationChannel",
    "gcp:monitoring/alertPolicy:AlertPolicy",
    "gcp:monitoring/dashboard:Dashboard",
    # One of a project's, whoever asks for it first; the provider never deletes it.
    "gcp:projects/serviceIdentity:ServiceIdentity",
)
CASELESS = ("azure-native:", "aws:iam/")

PLANNERS: Mapping[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}
FUNCTION = {"aws": "arn:aws:lambda:eu-west-1:111122223333:function:f", "gcp": "https://f-12.europe-west1.run.app"}
KEY = {
    "aws": "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000000",
    "gcp": "projects/sec/locations/europe/keyRings/r/cryptoKeys/k",
}
NOTIFIED = {
    "aws": "arn:aws:sns:eu-west-1:111122223333:ops",
    "azure": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/a",
    "gcp": "projects/ops/topics/alarms",
}
ID = "00000000-0000-0000-0000-00000000000a"
VAULT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/v"
WORKSPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.OperationalInsights/workspaces/w"

PLAIN = """
[topics.orders]
[topics.ops]
ordered = true
[subscriptions.billing]
topic = "orders"
[subscriptions.audit]
topic = "ops"
[queues.jobs]
[services.worker]
publishes = ["orders", "jobs"]
consumes = ["billing", "jobs"]
[services.helper]
publishes = ["orders", "jobs"]
consumes = ["billing", "jobs"]
operates = ["billing", "audit", "jobs"]
"""
PUSHING = """
[topics.news]
[topics.alerts]
[subscriptions.first]
topic = "news"
push = { function = "FUNCTION" }
[subscriptions.second]
topic = "alerts"
push = { function = "FUNCTION" }
"""
WATCHED = PLAIN + '[alarms]\nnotify = { email = "ops@example.com", topic = "NOTIFIED" }\n'
TOPOLOGIES = {"plain": PLAIN, "watched": WATCHED, "pushing": PUSHING}


def topology(cloud: str, text: str, bus: str = "shop") -> Topology:
    filled = text.replace("FUNCTION", FUNCTION.get(cloud, "")).replace("NOTIFIED", NOTIFIED[cloud])
    return loads(f'[bus]\nname = "{bus}"\n{filled}', source="polybus.toml")


def stack_settings(cloud: str, stack: str, place: str | None = None, *, key: bool = False) -> Any:
    """Every service is the same one."""
    services = ("worker", "helper")
    if cloud == "aws":
        roles = dict.fromkeys(services, "the-role")
        told: Any = {"composite_alarms": "service" if key else "bus", "delivery_logs": 10}
        return aws.AwsSettings(stack, place or "eu-west-1", KEY["aws"] if key else None, roles=roles, **told)
    if cloud == "azure":
        principals = dict.fromkeys(services, azure.Principal(ID))
        more: Any = {"bindings": VAULT, "diagnostics": Diagnostics(workspace=WORKSPACE)}
        return azure.AzureSettings(stack, place or "westeurope", principals=principals, **more)
    members = dict.fromkeys(services, "serviceAccount:app@p.iam.gserviceaccount.com")
    more = {"push_account": "push@p.iam.gserviceaccount.com", "kms_key": KEY["gcp"] if key else None}
    return gcp.GcpSettings(stack, place or "one", "12", members=members, **more)


def planned(cloud: str, text: str, chosen: Any, bus: str = "shop") -> list[Resource]:
    """Plan a topology, with only the services that it has."""
    declared = topology(cloud, text, bus)
    who = {"aws": "roles", "azure": "principals", "gcp": "members"}[cloud]
    known = {name: value for name, value in getattr(chosen, who).items() if name in declared.services}
    return list(PLANNERS[cloud].plan(declared, replace(chosen, **{who: known})).resources)


def identities(cloud: str, resources: list[Resource], place: str) -> list[tuple[str, ...]]:
    """Give what each resource is on the cloud, references resolved to what they refer to; what stays is nobody's."""
    found: dict[str, tuple[str, ...]] = {}

    def find(ref: Ref) -> str:
        resource = found.get(ref.resource, ("", ref.resource))
        return resource[-1] if ref.output == "name" else f"{'/'.join(resource)}.{ref.output}"

    for resource in resources:
        given = resolve(resource.properties, find)
        found[resource.name] = tuple(_identity(resource.type, given, place))
    kept = [item for item in resources if item.type not in UNNAMED and item.kind != "lookup"]
    return [found[item.name] for item in kept if not getattr(item, "stays", False)]


def _identity(type_: str, given: Mapping[str, Any], place: str) -> Iterator[str]:
    yield type_
    if type_ in REGIONAL:
        yield place
    for name in (*REGIONAL.get(type_, ()), *GLOBAL.get(type_, ())):
        value = str(given.get(name, ""))
        yield value.lower() if type_.startswith(CASELESS) else value


def shared(cloud: str, *ways: tuple[str, str, str, str | None], key: bool = False) -> set[tuple[str, ...]]:
    """Give what two or more plans have of one and the same; each is a text, a bus, a stack and a place."""
    seen: set[tuple[str, ...]] = set()
    twice: set[tuple[str, ...]] = set()
    for text, bus, stack, place in ways:
        own = set(
            identities(cloud, planned(cloud, text, stack_settings(cloud, stack, place, key=key), bus), place or "")
        )
        twice |= seen & own
        seen |= own
    return twice


each_cloud = pytest.mark.parametrize("cloud", list(PLANNERS))


def texts(cloud: str) -> dict[str, str]:
    """Give the topologies that a cloud takes; on Azure the stack pushes to no function."""
    return {name: text for name, text in TOPOLOGIES.items() if name != "pushing" or cloud in FUNCTION}


@each_cloud
def test_every_type_says_what_it_is(cloud: str) -> None:
    """So that no new kind of resource is looked past below."""
    types = {item.type for text in texts(cloud).values() for item in planned(cloud, text, stack_settings(cloud, "dev"))}
    lookups = {"gcp:organizations/getProject:getProject", "aws:index/getCallerIdentity:getCallerIdentity"}
    assert types - set(REGIONAL) - set(GLOBAL) - set(UNNAMED) - lookups == set()


@each_cloud
@pytest.mark.parametrize("name", TOPOLOGIES)
def test_services_of_one_identity_have_each_right_once(cloud: str, name: str) -> None:
    text = texts(cloud).get(name, PLAIN)
    text = text if text is not PUSHING else PUSHING + PLAIN
    found = identities(cloud, planned(cloud, text, stack_settings(cloud, "dev")), "")
    assert sorted(item for item in set(found) if found.count(item) > 1) == []


each_ground = pytest.mark.parametrize(
    ("cloud", "name", "key"), [(cloud, name, key) for cloud in PLANNERS for name in TOPOLOGIES for key in (False, True)]
)


@each_ground
def test_two_stacks_share_nothing(cloud: str, name: str, key: bool) -> None:
    text = texts(cloud).get(name, PLAIN)
    assert shared(cloud, (text, "shop", "dev", None), (text, "shop", "prod", None), key=key) == set()


@each_ground
def test_two_buses_share_nothing(cloud: str, name: str, key: bool) -> None:
    text = texts(cloud).get(name, PLAIN)
    assert shared(cloud, (text, "shop", "prod", None), (text, "depot", "prod", None), key=key) == set()


@pytest.mark.parametrize(
    ("cloud", "places"),
    [("aws", ("eu-west-1", "us-east-1")), ("azure", ("westeurope", "eastus")), ("gcp", ("one", "two"))],
)
def test_two_regions_share_nothing(cloud: str, places: tuple[str, str]) -> None:
    """On Google two projects: names are a project's, wherever its messages are."""
    assert shared(cloud, *((PLAIN, "shop", "prod", place) for place in places)) == set()


# -- Names that are designed to meet -----------------------------------------------------------------------------------

WORDS = st.sampled_from(["a", "b", "eu", "jobs", "dead", "letters", "age", "bus", "x" * 28])
NAMES = (
    st.lists(WORDS, min_size=1, max_size=3)
    .map("-".join)
    .filter(lambda name: len(name) <= 60 and not name.endswith("-dead-letters"))
)


@st.composite
def ways(draw: st.DrawFn) -> tuple[str, str, str, str | None]:
    topic, entry, queue = draw(st.lists(NAMES, min_size=3, max_size=3, unique=True))
    text = (
        f'[topics.{topic}]\n[subscriptions.{entry}]\ntopic = "{topic}"\n[queues.{queue}]\n[alarms]\n'
        f'notify = {{ email = "ops@example.com" }}\n[services.worker]\nconsumes = ["{queue}"]\n'
    )
    return text, draw(NAMES), draw(NAMES | st.just("")), None


@each_cloud
@settings(max_examples=10)
@given(one=ways(), other=ways())
def test_no_two_buses_or_stacks_meet_by_their_names(
    cloud: str, one: tuple[str, str, str, str | None], other: tuple[str, str, str, str | None]
) -> None:
    if one[1:3] != other[1:3]:
        assert shared(cloud, one, other) == set()


def test_what_met_before() -> None:
    jobs, eu_jobs = "[queues.jobs]\n", "[queues.eu-jobs]\n"
    assert shared("aws", (eu_jobs, "shop", "prod", None), (jobs, "shop", "prod-eu", None)) == set()
    assert shared("aws", (jobs, "shop-prod", "", None), (jobs, "shop", "prod", None)) == set()


def test_a_shared_name_would_be_seen() -> None:
    passed = '[queues.jobs]\n[queues.jobs.aws]\nname = "the-jobs"\n'
    assert shared("aws", (passed, "shop", "dev", None), (passed, "shop", "prod", None))
    assert isinstance(resolve(Json({}), str), Json)
