"""The component as other languages see it: its schema over the plugin protocol, and what it constructs."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import grpc
import pulumi
import pytest
import yaml
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.provider.server import ComponentInitError
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

import polybus
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


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """Ask a plugin process for its schema, as `pulumi package add` does."""
    folder = runner.STACKS / "component"
    with subprocess.Popen([sys.executable, str(folder), "127.0.0.1:1"], stdout=subprocess.PIPE, text=True) as plugin:
        try:
            assert plugin.stdout is not None
            port = int(plugin.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                answer = provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(provider_pb2.GetSchemaRequest())
        finally:
            plugin.terminate()
    found: dict[str, Any] = json.loads(answer.schema)
    return found


def test_the_plugin_process_tells_its_schema(schema: dict[str, Any]) -> None:
    assert (schema["name"], schema["version"]) == ("polybus", polybus.__version__)
    assert set(schema["resources"]) == {TOKEN}
    component = schema["resources"][TOKEN]
    assert component["isComponent"]
    assert component["requiredInputs"] == ["cloud", "topology"]
    assert component["required"] == ["bindingJson", "resources", "serviceBindings"]
    assert {name: entry["type"] for name, entry in component["inputProperties"].items()} == {
        "cloud": "string",
        "topology": "string",
        "settings": "object",
        "protect": "boolean",
    }
    assert {name: entry["type"] for name, entry in component["properties"].items()} == {
        "bindingJson": "string",
        "serviceBindings": "object",
        "resources": "object",
    }
    assert component["description"]
    described = [*component["inputProperties"].values(), *component["properties"].values()]
    assert all(entry["description"] for entry in described)
    # What the plan has to know can't be an output: generated SDKs take values alone.
    assert all(entry["plain"] for entry in component["inputProperties"].values())


def example(language: str) -> str:
    """Give the example of a language in the documentation."""
    text = (runner.STACKS.parent / "docs" / "provisioning.md").read_text()
    found = re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert len(found) == 1
    return str(found[0])


def test_the_yaml_example_fits_the_schema_and_makes_a_bus(schema: dict[str, Any]) -> None:
    program = yaml.safe_load(example("yaml"))
    made = program["resources"]["shop"]
    package, _, name = made["type"].partition(":")
    assert f"{package}:index:{name}" == TOKEN
    assert program["packages"] == {package: "./stacks/component"}
    assert (runner.STACKS / "component" / "PulumiPlugin.yaml").is_file()
    component = schema["resources"][TOKEN]
    inputs = {**made["properties"], "topology": TOPOLOGY}
    assert set(component["requiredInputs"]) <= inputs.keys() <= component["inputProperties"].keys()
    done = construct(inputs)
    assert Binding.from_json(done.outputs["bindingJson"]).backend == "aws"
    used = re.fullmatch(r"\$\{shop\.(\w+)\}", program["outputs"]["binding"])
    assert used is not None
    assert used[1] in component["properties"]


def test_the_typescript_example_names_what_the_schema_has(schema: dict[str, Any]) -> None:
    text, component = example("typescript"), schema["resources"][TOKEN]
    assert 'from "@pulumi/polybus"' in text
    arguments = re.search(r'new polybus\.MessageBus\("shop", \{\n(.*?)\n\}\);', text, re.DOTALL)
    assert arguments is not None
    named = set(re.findall(r"^    (\w+):", arguments[1], re.MULTILINE))
    assert set(component["requiredInputs"]) <= named <= component["inputProperties"].keys()
    assert set(re.findall(r"(?<!\w)bus\.(\w+)", text)) == component["properties"].keys()


def test_the_go_example_names_what_the_schema_has_with_its_types(schema: dict[str, Any]) -> None:
    text, component = example("go"), schema["resources"][TOKEN]
    given = dict(re.findall(r"^\t([A-Z]\w+): +(.*),$", text, re.MULTILINE))
    # A plain input is Go's own value, and a pointer to it where it may be left out.
    assert given.keys() == {name[0].upper() + name[1:] for name in component["inputProperties"]}
    assert given == {
        "Cloud": '"aws"',
        "Topology": "string(topology)",
        "Settings": 'map[string]interface{}{"region": "eu-west-1"}',
        "Protect": "&protect",
    }
    used = set(re.findall(r"(?<!\w)bus\.([A-Z]\w+)", text))
    assert used <= {name[0].upper() + name[1:] for name in component["properties"]}


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
        ({"settings": {"tags": [1.0]}}, "shop: settings.tags: found [1]; allowed: a table"),
        ({"settings": {"roles": {"bliling": "r"}}}, "shop: settings.roles.bliling: aws: found the service 'bliling'"),
    ],
)
def test_wrong_inputs_are_refused_in_our_words(inputs: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ComponentInitError) as raised:
        construct({"cloud": "aws", "topology": TOPOLOGY, **inputs})
    assert words in str(raised.value)


def test_a_setting_that_is_an_output_is_refused_with_what_to_do() -> None:
    with asyncio.Runner() as runner:  # an output belongs to the event loop that it is made on
        output = runner.run(_output("made-elsewhere"))
    settings = {"roles": {"billing": output}}
    with pytest.raises(ComponentInitError, match=r"shop: settings.roles: found an output .*`resources.policies`"):
        construct({"cloud": "aws", "topology": TOPOLOGY, "settings": settings})


async def _output(value: str) -> pulumi.Output[str]:
    return pulumi.Output.from_input(value)
