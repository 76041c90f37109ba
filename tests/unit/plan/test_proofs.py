"""What holds for every plan, beyond its limits: rights on single things, letters that arrive, names that stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.clouds import CLOUDS

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.table import physical_of
from polybus.plan.values import Ref, Resource
from polybus.topology.model import Alarms, Topology

from .shop import ONE, OTHER
from .strategies import topologies

PLANNERS: Mapping[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}
SETTINGS: Mapping[str, Any] = {
    "aws": aws.AwsSettings(stack="dev", roles={"worker": "arn:aws:iam::1:role/w", "keeper": "k"}),
    "azure": azure.AzureSettings(
        stack="dev", principals={"worker": azure.Principal(ONE), "keeper": azure.Principal(OTHER)}
    ),
    "gcp": gcp.GcpSettings(stack="dev", project="p", members={"worker": "serviceAccount:w@p", "keeper": "user:k"}),
}
# Azure Service Bus Data Sender and Data Receiver, as "Azure built-in roles" lists them.
DATA_ROLES = ("69a216fc-b8fb-44d8-bc22-1f3c2cd27a39", "4f6d3b9b-027b-4f4c-9142-0e5a2a2247e0")
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)
many = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow], deadline=None)


def planned(topology: Topology, cloud: str) -> dict[str, Resource]:
    return {resource.name: resource for resource in PLANNERS[cloud].plan(topology, SETTINGS[cloud]).resources}


@each_cloud
@many
@given(topology=topologies(), data=st.data())
def test_what_is_left_keeps_its_names_and_settings_when_others_go_and_all_change_places(
    cloud: str, topology: Topology, data: st.DataObject
) -> None:
    def some(entries: Mapping[str, Any], least: int = 0) -> dict[str, Any]:
        names = data.draw(st.lists(st.sampled_from(sorted(entries)), unique=True, min_size=least)) if entries else []
        return {name: entries[name] for name in names}

    whole = dataclasses.replace(topology, services={}, alarms=None)
    topics = some(whole.topics, least=1)
    subscriptions = {name: item for name, item in some(whole.subscriptions).items() if item.topic in topics}
    part = dataclasses.replace(whole, topics=topics, subscriptions=subscriptions, queues=some(whole.queues))
    bare = {"aws": aws.AwsSettings(stack="dev"), "azure": azure.AzureSettings(stack="dev"), "gcp": gcp.GcpSettings()}
    before = {item.name: item for item in PLANNERS[cloud].plan(whole, bare[cloud]).resources}
    after = {item.name: item for item in PLANNERS[cloud].plan(part, bare[cloud]).resources}
    assert after.items() <= before.items()


@each_cloud
@many
@given(topology=topologies())
def test_no_two_resources_of_a_type_have_one_name_on_the_cloud(cloud: str, topology: Topology) -> None:
    watched = dataclasses.replace(topology, alarms=topology.alarms or Alarms())
    named = [
        (item.type, physical_of(item), item.properties.get("topic_name") if "Subscription" in item.type else None)
        for item in planned(watched, cloud).values()
        if physical_of(item) and not item.type.startswith("gcp:monitoring/")  # these have display names alone
    ]
    assert len(set(named)) == len(named)


@many
@given(topology=topologies())
def test_aws_letters_go_to_a_queue_of_the_same_kind_that_takes_them_from_there_alone(topology: Topology) -> None:
    found = planned(topology, "aws")
    for name in (*topology.subscriptions, *topology.queues):
        redrive, allow = found[f"{name}-redrive"].properties, found[f"{name}-redrive-allow"].properties
        source, letters = found[f"{name}-queue"], found[f"{name}-dead-letters"]
        assert redrive["queue_url"] == Ref(source.name, "url")
        assert redrive["redrive_policy"].value["deadLetterTargetArn"] == Ref(letters.name, "arn")
        assert allow["queue_url"] == Ref(letters.name, "url")
        taken = {"redrivePermission": "byQueue", "sourceQueueArns": [Ref(source.name, "arn")]}
        assert allow["redrive_allow_policy"].value == taken
        assert source.properties.get("fifo_queue") == letters.properties.get("fifo_queue")
        assert f"{letters.name}-redrive" not in found  # letters end there


@many
@given(topology=topologies())
def test_azure_letters_stay_below_their_own_entity_and_nothing_drops_them(topology: Topology) -> None:
    plan = azure.plan(topology, SETTINGS["azure"])
    binding = azure.binding(plan, {item.name: {"name": f"<{item.name}>"} for item in plan.resources})
    for entity in (*binding.subscriptions.values(), *binding.queues.values()):
        assert entity.dead_letter == f"{entity.address}/$DeadLetterQueue"
    for resource in plan.resources:
        if resource.kind in ("subscription", "queue"):
            assert resource.properties["max_delivery_count"] >= 1


@many
@given(topology=topologies())
def test_azure_and_google_give_rights_on_single_entities_alone(topology: Topology) -> None:
    entities = {"topic", "queue", "subscription"}
    found = planned(topology, "azure")
    for resource in found.values():
        if resource.type == "azure-native:authorization:RoleAssignment":
            assert found[resource.properties["scope"].resource].kind in entities
            assert resource.properties["role_definition_id"].endswith(DATA_ROLES)
    for resource in planned(topology, "gcp").values():
        if "IAM" in resource.type:
            assert resource.type.startswith(("gcp:pubsub/topicIAMMember:", "gcp:pubsub/subscriptionIAMMember:"))
            assert resource.properties["role"] in {f"roles/pubsub.{it}" for it in ("publisher", "subscriber", "viewer")}
            assert "*" not in repr(resource.properties["member"])


@many
@given(topology=topologies())
def test_a_service_has_rights_on_what_it_declares_and_on_nothing_else(topology: Topology) -> None:
    plan = aws.plan(topology, SETTINGS["aws"])
    for name, document in plan.policies.items():
        service = topology.services[name]
        mine = {*service.publishes, *service.consumes, *service.operates}
        allowed = {f"{entry}-{kind}" for entry in mine for kind in ("topic", "queue", "dead-letters")}
        for statement in document["Statement"]:
            assert {ref.resource for ref in statement["Resource"]} <= allowed
            assert statement["Action"]
            for action in statement["Action"]:
                assert not any(word in action for word in ("Create", "DeleteQueue", "DeleteTopic", "Add", "Remove"))
                assert action.partition(":")[2] not in ("SetQueueAttributes", "SetTopicAttributes")
