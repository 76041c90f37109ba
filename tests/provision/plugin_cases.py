"""The component as other languages see it: its schema over the plugin protocol, and what it constructs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import grpc
import pulumi
import pytest
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.server import ComponentInitError
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from polybus.binding import Binding
from polybus.provision.plugin import MessageBus

from . import runner, simulated

TOKEN = "polybus:index:MessageBus"
TOPOLOGY = (runner.STACKS / "polybus.toml").read_text()


def construct(inputs: Mapping[str, Any]) -> runner.Run:
    """Do what the engine asks of the plugin when a program in another language makes the component."""

    def program() -> None:
        provider = ComponentProvider([MessageBus], "polybus")
        made = provider.construct("shop", TOKEN, dict(inputs), pulumi.ResourceOptions())
        for name, value in made.state.items():
            pulumi.export(name, value)

    return runner.run(program, simulated.create, look=simulated.look)


def test_the_plugin_process_tells_its_schema() -> None:
    folder = runner.STACKS / "component"
    with subprocess.Popen([sys.executable, str(folder), "127.0.0.1:1"], stdout=subprocess.PIPE, text=True) as plugin:
        try:
            assert plugin.stdout is not None
            port = int(plugin.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                answer = provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(provider_pb2.GetSchemaRequest())
        finally:
            plugin.terminate()
    schema = json.loads(answer.schema)
    assert schema["name"] == "polybus"
    component = schema["resources"][TOKEN]
    assert component["isComponent"]
    assert component["requiredInputs"] == ["cloud", "topology"]
    assert set(component["inputProperties"]) == {"cloud", "topology", "settings", "protect"}
    assert set(component["properties"]) == {"bindingJson", "resources"}


@pytest.mark.parametrize(
    ("cloud", "settings"),
    [
        ("aws", {"region": "eu-west-1", "roles": {"billing": "the-biller"}}),
        ("azure", {"location": "westeurope", "sku": "Premium", "capacity": 2.0}),
        ("gcp", {"project": "p", "regions": ["europe-west1"]}),
    ],
)
def test_it_constructs_what_the_python_component_does(cloud: str, settings: Mapping[str, Any]) -> None:
    done = construct({"cloud": cloud, "topology": TOPOLOGY, "settings": settings, "protect": True})
    [component] = done.of(TOKEN)
    assert all(resource.parent == component.urn for resource in done.resources if resource is not component)
    assert any(resource.options.get("protect") for resource in done.resources)
    binding = Binding.from_json(done.outputs["bindingJson"])
    assert (binding.backend, binding.bus) == (cloud, "shop")
    assert set(done.outputs["resources"]["queues"]) == {"thumbnails"}


def test_its_settings_reach_the_plan() -> None:
    roles = {"billing": "the-biller"}
    done = construct({"cloud": "aws", "topology": TOPOLOGY, "settings": {"region": "eu-west-1", "roles": roles}})
    assert done.named("shop-billing-role").inputs["role"] == "the-biller"
    assert Binding.from_json(done.outputs["bindingJson"]).settings == {"region": "eu-west-1"}


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"cloud": "asw"}, "found the cloud 'asw'; allowed: aws, azure, gcp; did you mean aws?"),
        ({"topology": "[bus"}, "shop: topology: not valid TOML"),
        ({"settings": {"sku": "Premium"}}, "shop: settings.sku: it is for azure; allowed here: tags, "),
        ({"settings": {"tags": [1.0]}}, "shop: settings.tags: found [1.0]; allowed: a table"),
    ],
)
def test_wrong_inputs_are_refused_in_our_words(inputs: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ComponentInitError) as raised:
        construct({"cloud": "aws", "topology": TOPOLOGY, **inputs})
    assert words in str(raised.value)
