"""Provider SDKs of other versions than the one installed: what is left out for them, and what names them.

`make lowest` and `make newest` run this folder with the versions themselves.
"""

from __future__ import annotations

import importlib.metadata
import inspect
from typing import Any

import pulumi_aws
import pulumi_azure_native
import pytest

from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.errors import ConfigError
from polybus.plan.planning import planning_of
from polybus.provision import MessageBus
from polybus.provision.cloud import cloud_named
from polybus.topology.file import loads

from . import runner, simulated

PLAIN = '[bus]\nname = "shop"\n[topics.orders]\n[subscriptions.billing]\ntopic = "orders"\n'
LARGE = PLAIN.replace("[topics.orders]\n", '[topics.orders]\nmax_message_size = "1MiB"\n')


def registered(text: str) -> runner.Registered:
    def program() -> None:
        MessageBus("shop", topology=loads(text, source="shop.toml"), cloud="aws", settings=AwsSettings(stack="dev"))

    return runner.run(program, simulated.create).named("shop-orders-topic")


@pytest.fixture
def older_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the argument out that SNS's topics have in pulumi-aws from 7.49 on."""
    made = pulumi_aws.sns.Topic
    now = inspect.signature(made._internal_init)
    kept = [one for name, one in now.parameters.items() if name != "maximum_message_size"]

    def init(*arguments: Any, **more: Any) -> None:
        raise AssertionError("never called: the SDK's own __init__ is")

    init.__signature__ = now.replace(parameters=kept)  # type: ignore[attr-defined]
    monkeypatch.setattr(made, "_internal_init", init)


def test_every_argument_is_set_where_the_sdk_has_it() -> None:
    if "maximum_message_size" in inspect.signature(pulumi_aws.sns.Topic._internal_init).parameters:
        assert registered(PLAIN).inputs["maximumMessageSize"] == 262_144
    else:
        assert "maximumMessageSize" not in registered(PLAIN).inputs


@pytest.mark.usefixtures("older_topic")
def test_an_argument_at_the_cloud_s_own_default_is_left_out_for_an_older_sdk() -> None:
    topology = loads(PLAIN, source="shop.toml")
    provider = cloud_named("aws")
    plan = provider.planned(topology, AwsSettings(stack="dev"))
    topic = next(one for one in plan.resources if one.name == "orders-topic")
    assert topic.properties["maximum_message_size"] == 262_144
    assert provider.sdk.taken(topic) == {
        name: value for name, value in topic.properties.items() if name != "maximum_message_size"
    }


@pytest.mark.usefixtures("older_topic")
def test_what_says_more_than_the_default_names_both_versions() -> None:
    found = importlib.metadata.version("pulumi-aws")
    newer = planning_of("aws").sdk[1]
    with pytest.raises(ConfigError) as caught:
        cloud_named("aws").planned(loads(LARGE, source="shop.toml"), AwsSettings(stack="dev"))
    assert str(caught.value) == (
        "shop.toml: at $.topics.orders.aws.maximum_message_size: aws:sns/topic:Topic has no such argument in "
        f"pulumi-aws {found}; pulumi-aws {newer} has it"
    )


def test_a_type_that_an_older_sdk_has_not_names_the_package_both_versions_and_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    required = ['pulumi-azure-native<4,>=3.27; extra == "azure-stack"', "msgspec<1,>=0.19"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required)
    monkeypatch.delattr(pulumi_azure_native.servicebus, "DefaultRule")
    found = importlib.metadata.version("pulumi-azure-native")
    with pytest.raises(ConfigError) as caught:
        cloud_named("azure").planned(loads(PLAIN, source="shop.toml"), None)
    assert str(caught.value) == (
        f"pulumi-azure-native {found} has no servicebus.DefaultRule, which azure-native:servicebus:DefaultRule is made "
        "with; it takes pulumi-azure-native>=3.27,<4: pip install --upgrade 'polybus[azure-stack]'"
    )


def test_a_module_that_an_older_sdk_has_not_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: None)
    with pytest.raises(ConfigError, match=r"has no nowhere\.Thing, .*; it takes a newer pulumi-azure-native: pip"):
        cloud_named("azure").sdk.resource("azure-native:nowhere:Thing")
