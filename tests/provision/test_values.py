"""What a stack fills into what the topology leaves open: text, secrets and outputs, on all three clouds."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pulumi
import pytest

from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan.namespace import AzureSettings
from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.errors import ConfigError, UnsupportedFeature
from polybus.provision import MessageBus
from polybus.topology.file import loads
from polybus.topology.model import digest

from . import runner, simulated

SECRET = "4dabf18193072939515e22adb298388d"
BUS = """
[bus]
name = "shop"
[topics.orders]
existing = { config = "orders" }
[subscriptions.billing]
topic = "orders"
[subscriptions.hook]
clouds = ["aws", "gcp"]
topic = "orders"
push = { https = { config = "hook" } }
[subscriptions.call]
topic = "orders"
push = { function = { config = "resize" } }
[services.web]
publishes = ["orders"]
[alarms]
notify = { email = { config = "ops" }, topic = { config = "pager" } }
"""
NAMESPACE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ServiceBus/namespaces/shop-dev"
GROUP = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Insights/actionGroups/pager"
ID = "00000000-0000-0000-0000-000000000001"
HOOK = "https://hook.example.com/orders?token=42"
VALUES: Mapping[str, Mapping[str, str]] = {
    "aws": {
        "orders": "arn:aws:sns:eu-west-1:111122223333:theirs",
        "hook": HOOK,
        "resize": "arn:aws:lambda:eu-west-1:111122223333:function:resize:live",
        "ops": "ops@example.com",
        "pager": "arn:aws:sns:eu-west-1:111122223333:pager",
    },
    "azure": {
        "orders": f"{NAMESPACE}/topics/theirs",
        "hook": HOOK,
        "resize": ID,
        "ops": "ops@example.com",
        "pager": GROUP,
    },
    "gcp": {
        "orders": "projects/other/topics/theirs",
        "hook": HOOK,
        "resize": "https://resize-42.europe-west1.run.app",
        "ops": "ops@example.com",
        "pager": "projects/p/topics/pager",
    },
}
SETTINGS: Mapping[str, Any] = {
    "aws": AwsSettings(stack="dev", region="eu-west-1"),
    "azure": AzureSettings(stack="dev", namespace="shop-dev"),
    "gcp": GcpSettings(stack="dev", project="p", project_number="42", push_account="push@p.iam.gserviceaccount.com"),
}
each_cloud = pytest.mark.parametrize("cloud", VALUES)


def done(cloud: str, values: Mapping[str, Callable[[], Any]], text: str = BUS, **more: Any) -> runner.Run:
    def program() -> None:
        bus = MessageBus(
            "shop",
            topology=loads(text, source="shop.toml"),
            cloud=cloud,
            settings=SETTINGS[cloud],
            values={name: value() for name, value in values.items()},
        )
        for name, value in {"polybus": bus.binding, **bus.exports}.items():
            pulumi.export(name, value)

    return runner.run(program, simulated.create, look=simulated.look, **more)


def given(cloud: str, form: Callable[[str], Any] = str, **other: Any) -> dict[str, Callable[[], Any]]:
    values = {**VALUES[cloud], **other}
    return {name: (lambda value=value: form(value)) for name, value in values.items()}  # type: ignore[misc]


def inputs(run: runner.Run) -> dict[str, Any]:
    return {one.name: (one.type, _parsed(runner.whole(dict(one.inputs)))) for one in run.resources}


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        return _parsed(json.loads(value))
    if isinstance(value, dict):
        return {key: _parsed(item) for key, item in value.items()}
    return [_parsed(item) for item in value] if isinstance(value, list) else value


def declared(cloud: str) -> str:
    """Write the same bus with everything in it, but for the function, which the settings have."""
    text = BUS
    for name, value in VALUES[cloud].items():
        text = text.replace(f'{{ config = "{name}" }}', f'"{value}"')
    return text


@each_cloud
def test_what_the_stack_fills_in_is_as_if_the_topology_said_it(cloud: str) -> None:
    found = done(cloud, given(cloud))
    text = json.dumps(inputs(found))
    for name, value in VALUES[cloud].items():
        seen = value.rpartition("/")[2] if cloud == "azure" and name == "orders" else value
        seen = seen.removesuffix(":live")  # which is the permission's qualifier
        assert (seen in text) == (name != "hook" or cloud != "azure"), name
    assert "<config" not in text
    assert "polybus-given" not in text
    assert found.outputs["polybus"]["digest"] == digest(loads(BUS, source="shop.toml"))
    if cloud != "azure":  # whose functions are principals, and no text of a topology
        assert inputs(done(cloud, {}, declared(cloud))) == inputs(found)


@each_cloud
def test_outputs_are_what_text_is(cloud: str) -> None:
    plain = inputs(done(cloud, given(cloud)))
    found = inputs(done(cloud, given(cloud, pulumi.Output.from_input)))
    # Rights are named by whom they are for, and Google's on a Cloud Run service is made where its address is text.
    others = [
        f"shop-{ID}.call-receiver",
        "shop-functions-resize.call-receiver",
        "shop-run.42.europe-west1.resize-invoker",
    ]
    for name in others:
        plain.pop(name, None)
        found.pop(name, None)
    assert found == plain


@each_cloud
def test_secrets_stay_secret_and_nothing_else_becomes_one(cloud: str) -> None:
    values = {**given(cloud), "hook": lambda: pulumi.Output.secret(HOOK), "ops": lambda: pulumi.Output.secret("o@x.y")}
    run = done(cloud, values)
    found = inputs(run)
    secret = {name for name, (_, properties) in found.items() if SECRET in repr(properties)}
    expected = {
        "aws": {"shop-hook-subscription", "shop-bus.alarms-subscription"},
        "azure": {"shop-bus.alarms-group"},
        "gcp": {"shop-hook-subscription", "shop-bus.alarms-email"},
    }
    assert secret == expected[cloud]
    assert SECRET not in repr(run.outputs)


def test_a_secret_may_have_a_password_and_is_never_told() -> None:
    secret = "https://me:pw@hook.example.com"
    run = done("aws", {**given("aws"), "hook": lambda: pulumi.Output.secret(secret)})
    assert SECRET in repr(run.named("shop-hook-subscription").inputs["endpoint"])
    with pytest.raises(ConfigError) as plain:
        done("aws", given("aws", hook=secret))
    assert "a URL with a name or password in it; allowed: one without, or polybus:secrets.hook" in str(plain.value)
    assert "pw" not in str(plain.value)
    bad = "http://me:pw@hook.example.com"
    with pytest.raises(pulumi.RunError) as raised:
        done("aws", {**given("aws"), "hook": lambda: pulumi.Output.secret(bad)})
    assert "found a secret; allowed: a URL that begins with" in str(raised.value)
    assert "pw" not in str(raised.value)


@each_cloud
def test_what_stays_open_is_refused_with_how_to_say_it(cloud: str) -> None:
    with pytest.raises(ConfigError) as raised:
        done(cloud, {})
    lines = str(raised.value).splitlines()
    assert len(lines) == (5 if cloud != "azure" else 4)  # where there is no hook
    assert lines[0] == (
        "shop.toml: at $.topics.orders.existing: open, and the stack's configuration has no orders: "
        "`pulumi config set --path 'polybus:values.orders' ...`, or `--secret --path 'polybus:secrets.orders' ...`"
    )


def test_a_value_that_nothing_asks_for_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"values\.hok: nothing in shop\.toml asks for it; .*did you mean hook\?"):
        done("aws", {**given("aws"), "hok": lambda: "x"})


@each_cloud
def test_a_value_is_held_to_what_a_declared_one_is(cloud: str) -> None:
    with pytest.raises((ConfigError, UnsupportedFeature), match="existing"):
        done(cloud, given(cloud, orders="nothing-like-it"))
    with pytest.raises((ConfigError, UnsupportedFeature), match="notify"):
        done(cloud, given(cloud, pager="nothing-like-it"))


@each_cloud
def test_a_preview_does_not_know_what_is_not_there_yet(cloud: str) -> None:
    async def future(value: Any) -> Any:
        return value

    def unknown(_: str) -> pulumi.Output[str]:
        return pulumi.Output(set(), future(None), future(False), future(False))

    previewed = done(cloud, given(cloud, unknown), preview=True)
    assert "<config" not in repr(inputs(previewed))
    assert "polybus-given" not in repr((inputs(previewed), previewed.outputs))


STACK: Mapping[str, Mapping[str, str]] = {
    "aws": {"aws:region": "eu-west-1"},
    "azure": {"azure-native:location": "westeurope", "polybus:namespace": "shop-dev"},
    "gcp": {"gcp:project": "p", "polybus:projectNumber": "42"},
}


def deployed(
    folder: Path, cloud: str, values: Mapping[str, Any], secrets: Mapping[str, Any], **more: Any
) -> runner.Run:
    (folder / "polybus.toml").write_text(BUS)
    tables = {"polybus:values": values, "polybus:secrets": secrets}
    config = {
        "polybus:cloud": cloud,
        **STACK[cloud],
        **{key: json.dumps(table) for key, table in tables.items() if table},
    }
    return runner.run(runner.main, simulated.create, look=simulated.look, values=config, root=folder, **more)


@each_cloud
def test_a_stacks_configuration_has_values_and_secrets(tmp_path: Path, cloud: str) -> None:
    values = dict(VALUES[cloud])
    secrets = {"ops": values.pop("ops")}
    run = deployed(tmp_path, cloud, values, secrets, secret=["polybus:secrets"])
    secret = {one.name for one in run.resources if SECRET in repr(one.inputs)}
    assert len(secret) == 1
    assert next(iter(secret)).startswith("shop-bus.alarms-")
    assert SECRET not in repr(run.outputs)


def test_values_that_are_encrypted_are_secrets_too(tmp_path: Path) -> None:
    run = deployed(tmp_path, "aws", VALUES["aws"], {}, secret=["polybus:values"])
    assert SECRET in repr(run.named("shop-hook-subscription").inputs["endpoint"])
    assert SECRET in repr(run.named("shop-billing-subscription").inputs["topic"])


@pytest.mark.parametrize(
    ("values", "secrets", "words"),
    [
        ({"hook": 1}, {}, "polybus:values.hook: found 1; allowed: a text"),
        ({"hook": HOOK}, {"hook": HOOK}, "polybus:secrets.hook: found 'hook'; allowed: one that values has not"),
        ({}, {"hook": {"a": "b"}}, "polybus:secrets.hook: found 'a secret'; allowed: a text"),
    ],
)
def test_tables_of_something_else_are_refused(
    tmp_path: Path, values: Mapping[str, Any], secrets: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(pulumi.RunError) as raised:
        deployed(tmp_path, "aws", values, secrets)
    assert words in str(raised.value)
