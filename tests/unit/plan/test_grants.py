"""Rights: each once, whoever asks for it; what others may live by is left to them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.azure.plan.namespace import Principal
from polybus.clouds.gcp.plan import resources as gcp
from polybus.errors import ConfigError
from polybus.plan.diff import Action, diff
from polybus.plan.table import describe
from polybus.plan.values import Ref, Resource
from polybus.topology.file import loads
from polybus.topology.model import Topology

ONE, OTHER = "00000000-0000-0000-0000-00000000000a", "00000000-0000-0000-0000-00000000000b"
APP = "serviceAccount:app@p.iam.gserviceaccount.com"
KEY = "projects/sec/locations/europe/keyRings/shop/cryptoKeys/messages"

NEWS = """
[bus]
name = "shop"
[topics.news]
[subscriptions.letters]
topic = "news"
[services.mailer]
consumes = ["letters"]
publishes = ["news"]
"""
WORKER = """
[services.worker]
consumes = ["letters"]
publishes = ["news"]
"""


def topology(text: str) -> Topology:
    return loads(text, source="polybus.toml")


def plan(cloud: str, text: str, who: Mapping[str, str]) -> tuple[Resource, ...]:
    if cloud == "azure":
        principals = {name: Principal(each) for name, each in who.items()}
        return azure.plan(topology(text), azure.AzureSettings(stack="prod", principals=principals)).resources
    settings = gcp.GcpSettings(stack="prod", project="p", project_number="1", members=who)
    return gcp.plan(topology(text), settings).resources


def rights(resources: Iterable[Resource]) -> list[Resource]:
    return [one for one in resources if one.kind == "rights"]


def made(resources: Iterable[Resource]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Give what the engine and the cloud know of resources: not which entries they come from."""
    return {(one.type, one.name): dict(one.properties) for one in resources}


def triples(resources: Iterable[Resource]) -> list[str]:
    """Give who may do what on what, as the cloud tells rights apart."""
    apart = ("principal_id", "role_definition_id", "scope", "member", "role", "topic", "subscription")
    return [repr({key: one.properties.get(key) for key in apart}) for one in resources]


@pytest.mark.parametrize(("cloud", "identity"), [("azure", ONE), ("gcp", APP)])
def test_services_that_run_as_one_identity_share_their_rights(cloud: str, identity: str) -> None:
    both = rights(plan(cloud, NEWS + WORKER, {"mailer": identity, "worker": identity}))
    alone = rights(plan(cloud, NEWS, {"mailer": identity}))
    assert len(set(triples(both))) == len(both)
    assert made(both) == made(alone)
    # Which of the two goes makes no difference.
    assert made(rights(plan(cloud, NEWS + WORKER, {"worker": identity}))) == made(both)
    assert {one.entry for one in both} == {"$.services.mailer, services.worker"}


@pytest.mark.parametrize(("cloud", "one", "other"), [("azure", ONE, OTHER), ("gcp", APP, f"{APP}.eu")])
def test_services_of_their_own_identities_share_nothing(cloud: str, one: str, other: str) -> None:
    both = rights(plan(cloud, NEWS + WORKER, {"mailer": one, "worker": other}))
    mailer = rights(plan(cloud, NEWS + WORKER, {"mailer": one}))
    worker = rights(plan(cloud, NEWS + WORKER, {"worker": other}))
    assert made(both) == made(mailer) | made(worker)
    assert len(both) == len(mailer) + len(worker)


PUSHED = NEWS + '[subscriptions.resized]\ntopic = "news"\npush = { function = "resize" }\n'


def test_a_function_that_runs_as_a_service_shares_its_right_too() -> None:
    text = PUSHED + '[services.resizer]\noperates = ["resized"]\n'

    def planned(principals: Mapping[str, Principal], identity: str) -> tuple[Resource, ...]:
        settings = azure.AzureSettings(principals=principals, functions={"resize": Principal(identity)})
        return azure.plan(topology(text), settings).resources

    shared = rights(planned({"resizer": Principal(ONE)}, ONE.upper()))
    assert [one.name for one in shared] == [f"{ONE}.resized-receiver", f"{ONE}.news-sender"]
    assert shared[0].entry == "$.services.resizer, subscriptions.resized"
    alone = rights(planned({}, ONE))
    assert made(alone).items() <= made(shared).items()


def test_a_principal_of_two_types_is_refused() -> None:
    principals = {"mailer": Principal(ONE), "worker": Principal(ONE, "Group")}
    with pytest.raises(ConfigError, match=f"{ONE} is said to be a ServicePrincipal and a Group"):
        azure.plan(topology(NEWS + WORKER), azure.AzureSettings(principals=principals))


# -- What is not the stack's own ---------------------------------------------------------------------------------------

FOREIGN = """
[bus]
name = "{bus}"
[topics.news]
existing = "projects/other/topics/news"
[subscriptions.letters]
topic = "news"
push = {{ https = "https://api-123456789012.europe-west1.run.app/in" }}
[services.writer]
publishes = ["news"]
[alarms]
notify = {{ topic = "projects/ops/topics/alarms" }}
"""


def foreign(bus: str = "shop", **more: Any) -> tuple[Resource, ...]:
    given: dict[str, Any] = {"kms_key": KEY, "members": {"writer": APP}} | more
    push = "push@mine.iam.gserviceaccount.com"
    settings = gcp.GcpSettings(stack="prod", project="mine", project_number="1", push_account=push, **given)
    return gcp.plan(topology(FOREIGN.format(bus=bus)), settings).resources


def test_google_rights_on_what_is_not_the_stack_s_own_are_left_there() -> None:
    staying = {one.name: one for one in foreign() if one.stays}
    assert [name.rpartition(".")[2] for name in staying] == [
        "key-agent",
        "news-topic-publisher",
        "api-invoker",
        "alarms-topic-agent",
    ]
    for one in foreign():
        if "IAM" in one.type.upper():
            own = any(isinstance(value, Ref) for value in one.properties.values())
            assert own is not one.stays, one.name


def test_all_that_two_buses_of_one_project_plan_alike_is_left_to_the_other() -> None:
    """Google counts no owners of a member: what both plan must not go with one."""

    def by_triple(bus: str) -> dict[str, Resource]:
        found = [one for one in foreign(bus) if "member" in one.properties]
        keys = ("crypto_key_id", "name", "location", "project", "topic", "subscription", "role", "member")
        return {repr([one.properties.get(key) for key in keys] + _own_names(bus, one)): one for one in found}

    shop, depot = by_triple("shop"), by_triple("depot")
    assert all(shop[key].stays and depot[key].stays for key in shop.keys() & depot.keys())
    assert len(shop.keys() & depot.keys()) == 4


def _own_names(bus: str, one: Resource) -> list[str]:
    """Tell a reference in one bus from the same in another, as the names behind them do."""
    refers = any(isinstance(value, Ref) for value in one.properties.values())
    return [bus] if refers else []


def test_a_key_that_is_dropped_or_changed_keeps_its_right_for_what_waits_and_for_others() -> None:
    before, without = foreign(), foreign(kms_key=None)
    (grant,) = [change for change in diff(before, without) if change.kind == "access"]
    assert grant.action is Action.LEAVE
    changed = foreign(kms_key=KEY.replace("messages", "newer"))
    (grant,) = [change for change in diff(before, changed) if change.kind == "access"]
    assert grant.action is Action.REPLACE
    assert next(one for one in changed if one.name == "bus.key-agent").stays


def test_a_topic_of_another_project_is_named_by_its_full_name_alone() -> None:
    """Beside it the provider would take the stack's project for a change, and make the right anew at every update."""
    named = [one for one in foreign() if str(one.properties.get("topic", "")).startswith("projects/")]
    rights_there = [one for one in named if "member" in one.properties]
    assert len(rights_there) == 2
    assert not [one.name for one in rights_there if "project" in one.properties]


def test_google_s_agent_is_made_before_anything_is_granted_to_it() -> None:
    """In a fresh project there is none yet, and a policy takes no member that isn't there."""
    resources = foreign()
    (identity,) = [one for one in resources if one.type == "gcp:projects/serviceIdentity:ServiceIdentity"]
    assert dict(identity.properties) == {"project": "mine", "service": "pubsub.googleapis.com"}
    granted = [one for one in resources if "@gcp-sa-pubsub." in repr(one.properties.get("member"))]
    assert len(granted) == 3
    assert {one.after for one in granted} == {("bus.pubsub-agent",)}
    assert resources.index(identity) < min(resources.index(one) for one in granted)
    left = foreign(service_identity=False)
    assert not [one for one in left if one.type == identity.type or identity.name in one.after]


def test_another_universe_says_itself_what_its_agents_are_called() -> None:
    resources = foreign(universe_domain="example-universe.goog")
    assert "gserviceaccount.com" not in repr([one for one in resources if "agent" in one.name])
    members = {
        one.name: one.properties["member"] for one in resources if "agent" in one.name and one.kind != "service agent"
    }
    assert members == {
        "bus.key-agent": Ref("bus.pubsub-agent", "member"),
        "letters-dead-letters-agent": Ref("bus.pubsub-agent", "member"),
        "letters-agent": Ref("bus.pubsub-agent", "member"),
        "bus.alarms-topic-agent": Ref("bus.monitoring-agent", "member"),
    }
    asked = {one.name: one.properties["service"] for one in resources if one.kind == "service agent"}
    assert asked == {"bus.pubsub-agent": "pubsub.googleapis.com", "bus.monitoring-agent": "monitoring.googleapis.com"}
    assert foreign(universe_domain="googleapis.com") == foreign()


def test_a_plan_shows_what_stays() -> None:
    settings = gcp.GcpSettings(project="mine", project_number="1", kms_key=KEY)
    rows = describe(gcp.plan(topology(NEWS), settings))
    assert [row.settings["role"] for row in rows if row.settings.get("when deleted") == "stays"] == [
        "roles/cloudkms.cryptoKeyEncrypterDecrypter"
    ]


def test_an_azure_assignment_has_one_owner_and_goes_with_it() -> None:
    """Azure refuses a second of the same principal, role and scope, so nobody else's can be behind it."""
    home = "/subscriptions/s/resourceGroups/r/providers/Microsoft.ServiceBus/namespaces/the-bus"
    text = NEWS.replace("[topics.news]", f'[topics.news]\nexisting = "{home}/topics/old"')
    settings = azure.AzureSettings(namespace="the-bus", principals={"mailer": Principal(ONE)})
    found = rights(azure.plan(topology(text), settings).resources)
    assert [one.properties["scope"] for one in found if one.name.endswith("-sender")] == [f"{home}/topics/old"]
    assert not any(one.stays for one in found)
