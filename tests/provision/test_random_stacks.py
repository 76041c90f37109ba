"""Random stacks through Pulumi's SDK: each plan value is one resource with its inputs, and exports are known."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pulumi
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from pulumi.output import Unknown
from tests.clouds import CLOUDS
from tests.unit.plan.everything import Stack, stacks

from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.values import Json, Resource, refs, resolve
from polybus.provision import MessageBus
from polybus.provision.cloud import cloud_named

from . import runner, simulated, typed

PLANNERS: Mapping[str, Any] = {"aws": aws, "azure": azure, "gcp": gcp}
SECRET = "4dabf18193072939515e22adb298388d"  # what marks a secret on Pulumi's wire
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)
few = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


UNTOLD = {"azure-native:monitor:MetricAlert": ["criteria"]}
"""What is one of several forms: the SDK can't tell which, and wants the API's own names, which its types don't have."""


class Deployed:
    """One run of a stack, with what each resource gave."""

    def __init__(self, stack: Stack, cloud: str, *, preview: bool = False) -> None:
        self.plan = PLANNERS[cloud].plan(stack.topology, stack.settings)
        self.outputs: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()
        self._preview = preview

        def program() -> None:
            bus = MessageBus("it", topology=stack.topology, cloud=cloud, settings=stack.settings)
            pulumi.export("polybus", bus.binding)
            pulumi.export("exports", dict(bus.exports))

        self.run = runner.run(program, self._create, look=self._look, preview=preview)

    def _create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        made = {} if self._preview else simulated.create(type_, name, inputs)
        if "userAssignedIdentities" in inputs.get("identity", {}):
            # A list going in, a mapping coming back; in a preview the provider leaves it unknown.
            made["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {}}
        with self._lock:
            self.outputs[name.removeprefix("it-")] = {**dict(inputs), **made}
        return made

    def _look(self, token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = simulated.look(token, arguments)
        names = {"getProject": "project", "getRegion": "region", "getCallerIdentity": "account"}
        names["getProjectServiceAccount"] = "bus.storage-agent"
        name = names.get(token.rpartition(":")[2])
        if name is not None:  # else it is a guard's question, and no reference goes to the answer
            with self._lock:
                self.outputs[name] = found
        return found

    def find(self, ref: Any) -> Any:
        """Give what a reference stands for; in a preview Unknown where the cloud decides."""
        given = self.outputs[ref.resource]
        return given.get(ref.output, given.get(camel(ref.output), Unknown()))

    def expected(self, value: Any) -> Any:
        """Fill in a plan's value: what rests on anything that isn't known isn't known itself."""
        if isinstance(value, Mapping):
            return {key: self.expected(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.expected(item) for item in value]
        if any(isinstance(self.find(ref), Unknown) for ref in refs(value)):
            return Unknown()
        found = resolve(value, self.find)
        return found if not isinstance(found, Json) else AsJson(found.value)


class AsJson:
    """JSON text, whatever its spaces."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and runner.whole(json.loads(other)) == self._value

    def __hash__(self) -> int:
        raise TypeError("not hashable")

    def __repr__(self) -> str:
        return f"AsJson({self._value})"


def camel(name: str) -> str:
    return re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name)


def as_sent(value: Any, key: str = "") -> Any:
    """Write keys as providers have them; those of tags, labels and dimensions are the user's own."""
    if isinstance(value, Mapping):
        own = key in ("tags", "labels", "userLabels", "dimensions")
        return {name if own else camel(name): as_sent(item, camel(name)) for name, item in value.items()}
    return [as_sent(item) for item in value] if isinstance(value, list) else value


def lacking(expected: Any, found: Any, path: str = "") -> Iterator[str]:
    """List where what was registered isn't what was planned; an SDK may add defaults inside a mapping."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, item in expected.items():
            yield from lacking(item, found.get(key), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for at, (item, one) in enumerate(zip(expected, found, strict=True)):
            yield from lacking(item, one, f"{path}[{at}]")
    elif isinstance(expected, Unknown) and isinstance(found, Unknown):
        return
    elif expected != found:
        yield f"{path}: planned {expected!r}, registered {found!r}"


def made(plan: Any) -> list[Resource]:
    return [resource for resource in plan.resources if resource.kind != "lookup"]


@each_cloud
def test_each_plan_value_is_one_resource_with_its_inputs_and_the_exports_are_the_binding(cloud: str) -> None:
    sdk = cloud_named(cloud).sdk

    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        done = Deployed(stack, cloud)
        [component] = done.run.of("polybus:index:MessageBus")
        children = {one.name: one for one in done.run.resources if one is not component}
        assert len(children) == len(done.run.resources) - 1
        assert {(one.type, one.name) for one in children.values()} == {
            (resource.type, f"it-{resource.name}") for resource in made(done.plan)
        }
        assert {one.parent for one in children.values()} <= {component.urn}
        for resource in made(done.plan):
            found = runner.whole(dict(children[f"it-{resource.name}"].inputs))
            planned = done.expected(sdk.taken(resource))
            assert list(lacking(as_sent(planned), found, resource.name)) == []
            assert "Ref(" not in repr(found)
            assert nothings(found) == []
            texts = {key: plain(value) for key, value in planned.items()}
            untold = UNTOLD.get(resource.type, [])
            assert typed.misfits(sdk.resource(resource.type), texts) == untold, resource
        outputs = done.run.outputs
        binding = json.loads(PLANNERS[cloud].binding(done.plan, done.outputs).to_json())
        assert list(lacking(runner.whole(binding), outputs["polybus"])) == []
        assert outputs["polybus"].keys() == binding.keys()
        assert list(lacking(done.expected(PLANNERS[cloud].exports(done.plan)), outputs["exports"])) == []
        assert SECRET not in repr(outputs)

    proof()


@each_cloud
def test_a_preview_knows_each_leaf_that_the_cloud_does_not_decide(cloud: str) -> None:
    @few
    @given(stack=stacks(cloud, fan=False))
    def proof(stack: Stack) -> None:
        done = Deployed(stack, cloud, preview=True)
        expected = runner.whole(done.expected(PLANNERS[cloud].binding_values(done.plan)))
        assert list(lacking(expected, done.run.outputs["polybus"])) == []
        exports = done.expected(PLANNERS[cloud].exports(done.plan))
        assert list(lacking(exports, done.run.outputs.get("exports", {}))) == []

    proof()


def nothings(value: Any, path: str = "") -> list[str]:
    """Find None at any depth."""
    if isinstance(value, dict):
        return [found for key, item in value.items() for found in nothings(item, f"{path}.{key}")]
    if isinstance(value, list):
        return [found for at, item in enumerate(value) for found in nothings(item, f"{path}[{at}]")]
    return [path] if value is None else []


def plain(value: Any) -> Any:
    """Give text for JSON text, inside of tables too."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return "{}" if isinstance(value, AsJson) else value


@pytest.mark.parametrize(
    ("cloud", "type_", "good", "bad"),
    [
        ("aws", "aws:sqs/queue:Queue", {"visibility_timeout_seconds": 30}, {"visibility_timeout_seconds": "thirty"}),
        ("aws", "aws:sns/topic:Topic", {"tags": {"a": "b"}}, {"tags": {"a": 1}}),
        ("azure", "azure-native:servicebus:Namespace", {"sku": {"name": "Premium"}}, {"sku": {"nmae": "Premium"}}),
        ("azure", "azure-native:servicebus:Queue", {"requires_session": True}, {"requires_session": "yes"}),
        (
            "gcp",
            "gcp:pubsub/subscription:Subscription",
            {"dead_letter_policy": {"max_delivery_attempts": 5}},
            {"dead_letter_policy": {"max_delivery_attempts": 5.5}},
        ),
    ],
)
def test_a_value_of_another_type_than_the_sdk_takes_is_seen(
    cloud: str, type_: str, good: Mapping[str, Any], bad: Mapping[str, Any]
) -> None:
    resource = cloud_named(cloud).sdk.resource(type_)
    assert typed.misfits(resource, good) == []
    assert typed.misfits(resource, bad) == list(bad)
