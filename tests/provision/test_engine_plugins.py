"""The local provider plugins, asked as an engine asks them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from polybus.provision.laptop import launchers

from .engine_places import Place, running
from .engine_plugin import Plugin, PluginError, Plugins

TOPICS: dict[str, tuple[str, dict[str, Any]]] = {
    "aws": ("aws:sns/topic:Topic", {"name": "orders"}),
    "azure": (
        "azure-native:servicebus:Topic",
        {"topicName": "orders", "namespaceName": "shop-bus", "resourceGroupName": "shop"},
    ),
    "gcp": ("gcp:pubsub/topic:Topic", {"name": "orders"}),
}
each_cloud = pytest.mark.parametrize("place", TOPICS, indirect=True)
on_aws = pytest.mark.parametrize("place", ["aws"], indirect=True)


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with running(request.param) as place, pytest.MonkeyPatch.context() as monkeypatch:
        for name, value in place.environment.items():
            monkeypatch.setenv(name, value)
        yield place


@pytest.fixture(scope="module")
def plugin(place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plugin]:
    folder = launchers.write(tmp_path_factory.mktemp(place.cloud) / "plugins")
    with Plugins(str(folder), place.config) as plugins:
        yield plugins.of(TOPICS[place.cloud][0])


def urn(type_: str, name: str = "it") -> str:
    return f"urn:pulumi:dev::polybus::polybus:index:MessageBus${type_}::{name}"


@each_cloud
def test_what_is_made_is_read_until_it_is_gone(place: Place, plugin: Plugin) -> None:
    type_, inputs = TOPICS[place.cloud]
    topic = urn(type_)
    assert plugin.create(topic, inputs, preview=True) == ("", inputs)
    assert place.everything() == {}
    identity, outputs = plugin.create(topic, inputs, preview=False)
    assert outputs.items() >= inputs.items()
    assert len(place.everything()) == 1
    assert plugin.read(topic, identity, inputs, outputs) == (identity, inputs, outputs)
    plugin.delete(topic, identity, inputs, outputs)
    assert place.everything() == {}
    assert plugin.read(topic, identity, inputs, outputs) == ("", {}, {})
    plugin.delete(topic, identity, inputs, outputs)


@each_cloud
def test_another_name_forces_a_replacement_and_the_same_is_no_difference(place: Place, plugin: Plugin) -> None:
    type_, inputs = TOPICS[place.cloud]
    key = "topicName" if place.cloud == "azure" else "name"
    assert plugin.diff(urn(type_), "id", inputs, inputs, inputs) == (False, False)
    assert plugin.diff(urn(type_), "id", inputs, inputs, {**inputs, key: "other"}) == (True, True)
    assert plugin.diff(urn(type_), "id", inputs, inputs, {**inputs, "tags": {"a": "b"}}) == (True, place.cloud == "gcp")


@pytest.mark.parametrize("place", ["gcp"], indirect=True)
def test_what_is_not_said_is_as_the_provider_is_configured_and_otherwise_off(place: Place, plugin: Plugin) -> None:
    """So what is imported, whose inputs are what the cloud says of it, isn't replaced for what the program says too."""
    held, it = {"name": "billing"}, urn("gcp:pubsub/subscription:Subscription")
    assert plugin.diff(it, "id", held, held, {**held, "project": "shop-dev"}) == (True, False)
    assert plugin.diff(it, "id", held, held, {**held, "project": "elsewhere"}) == (True, True)
    assert plugin.diff(it, "id", held, held, {**held, "enableMessageOrdering": False}) == (True, False)
    assert plugin.diff(it, "id", held, held, {**held, "enableMessageOrdering": True}) == (True, True)


@pytest.mark.parametrize("place", ["azure"], indirect=True)
def test_what_is_imported_by_its_id_in_the_cloud_is_what_is_here(place: Place, plugin: Plugin) -> None:
    type_, inputs = TOPICS["azure"]
    identity, _ = plugin.create(urn(type_), inputs, preview=False)
    group = "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/shop"
    namespace = f"{group}/providers/Microsoft.ServiceBus/namespaces/shop-bus"
    found, seen, outputs = plugin.read(urn(type_), f"{namespace}/topics/orders", {}, {})
    assert found == identity
    assert seen.items() >= inputs.items()
    assert re.fullmatch(r"PT\d+(\.\d+)?S", outputs["autoDeleteOnIdle"])
    above, home = urn("azure-native:servicebus:Namespace"), {"resourceGroupName": "shop", "namespaceName": "shop-bus"}
    made, _ = plugin.create(above, home, preview=False)
    assert plugin.read(above, namespace, {}, {}) == (made, home, {**home, "name": "shop-bus"})
    plugin.delete(urn(type_), identity, inputs, outputs)


@on_aws
def test_what_is_attached_is_read_from_the_server_too(place: Place, plugin: Plugin) -> None:
    queue, access = urn("aws:sqs/queue:Queue"), urn("aws:sqs/queuePolicy:QueuePolicy")
    inputs: dict[str, Any] = {"name": "jobs", "visibilityTimeoutSeconds": 30, "kmsMasterKeyId": "alias/ours"}
    identity, outputs = plugin.create(queue, inputs, preview=False)
    attached = {"queueUrl": identity, "policy": '{"Version": "2012-10-17", "Statement": []}'}
    policy, held = plugin.create(access, attached, preview=False)
    assert plugin.read(access, policy, attached, held) == (policy, attached, held)

    place.drift(identity)
    drifted = {"visibilityTimeoutSeconds": 77}
    assert plugin.read(queue, identity, inputs, outputs) == (identity, {**inputs, **drifted}, {**outputs, **drifted})
    place.lose(identity)
    assert plugin.read(access, policy, attached, held) == ("", {}, {})
    assert place.everything() == {}


@pytest.mark.parametrize("place", ["gcp"], indirect=True)
def test_grants_that_are_made_and_taken_away_side_by_side_are_all_there_and_all_gone(
    place: Place, plugin: Plugin
) -> None:
    """Google's policies are read and written whole, and refused where another was quicker: the provider tries again."""
    type_, inputs = TOPICS["gcp"]
    identity, outputs = plugin.create(urn(type_), inputs, preview=False)
    members = [f"serviceAccount:service-{number}@shop.iam.gserviceaccount.com" for number in range(16)]
    grant = urn("gcp:pubsub/topicIAMMember:TopicIAMMember")

    def make(member: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
        asked = {"topic": "orders", "role": "roles/pubsub.publisher", "member": member}
        one, made = plugin.create(grant, asked, preview=False)
        return one, asked, made

    with ThreadPoolExecutor(len(members)) as pool:
        grants = list(pool.map(make, members))
        assert all(member in place.everything()[identity] for member in members)
        assert [plugin.read(grant, *each) for each in grants] == grants
        list(pool.map(lambda each: plugin.delete(grant, *each), grants))
    assert not any(member in place.everything()[identity] for member in members)
    assert [plugin.read(grant, *each)[0] for each in grants] == [""] * len(grants)
    plugin.delete(urn(type_), identity, inputs, outputs)


@on_aws
def test_a_name_that_is_missing_is_refused(plugin: Plugin) -> None:
    with pytest.raises(PluginError, match="name it needs an explicit name"):
        plugin.check(urn("aws:sqs/queue:Queue"), {}, {})


@each_cloud
def test_a_name_that_the_cloud_does_not_take_is_refused_before_anything_is_made(place: Place, plugin: Plugin) -> None:
    type_, inputs = TOPICS[place.cloud]
    key = "topicName" if place.cloud == "azure" else "name"
    assert plugin.check(urn(type_), {}, inputs) == inputs
    with pytest.raises(PluginError, match=f"{key} found 'no good!'; allowed: "):
        plugin.check(urn(type_), {}, {**inputs, key: "no good!"})


@on_aws
def test_all_that_the_provider_refuses_of_a_resource_is_said_at_once(plugin: Plugin) -> None:
    """Of one that the server would make, and of one that it has nothing for."""
    with pytest.raises(PluginError, match="delaySeconds found 901; allowed: from 0 to 900"):
        plugin.check(urn("aws:sqs/queue:Queue"), {}, {"name": "jobs", "delaySeconds": 901})
    with pytest.raises(PluginError) as refused:
        plugin.check(urn("aws:cloudwatch/metricAlarm:MetricAlarm"), {}, {"name": "a" * 256, "period": 45})
    assert str(refused.value).endswith(
        "name found 256 bytes; allowed: 1 to 255; period found 45; allowed: 10, 20, 30, multiples of 60"
    )


@on_aws
def test_what_the_server_has_nothing_for_is_recorded_and_nothing_made_up_for_it(place: Place, plugin: Plugin) -> None:
    role, given = urn("aws:iam/role:Role"), {"name": "shop", "description": "a"}
    assert plugin.check(role, {}, given) == given
    identity, made = plugin.create(role, given, preview=False)
    assert (identity, made) == ("shop", {**given, "arn": "arn:aws:iam::000000000000:role/shop"})
    other = {**given, "description": "b"}
    assert plugin.diff(role, identity, given, made, other) == (True, False)
    changed = plugin.update(role, identity, given, made, other, preview=False)
    assert changed == {**made, **other}
    assert plugin.read(role, identity, other, changed) == (identity, other, changed)
    plugin.delete(role, identity, other, changed)
    with pytest.raises(grpc.RpcError) as raised:
        plugin.invoke("aws:s3/getBucket:getBucket", {}, preview=False)
    assert "the local aws has nothing for 'aws:s3/getBucket:getBucket'" in str(raised.value)
    assert place.everything() == {}


@on_aws
def test_what_the_server_refuses_is_told_in_its_words(place: Place, plugin: Plugin) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        plugin.create(urn("aws:sqs/queue:Queue"), {"name": "jobs", "visibilityTimeoutSeconds": 43_201.0}, preview=False)
    assert "InvalidAttributeValue" in str(raised.value)
    assert place.everything() == {}


def test_a_plugin_that_is_not_there_is_named(tmp_path: Path) -> None:
    with Plugins(str(tmp_path), {}) as plugins, pytest.raises(PluginError, match="no pulumi-resource-aws on"):
        plugins.of("aws:sqs/queue:Queue")
