"""The policy pack: what it makes of what Pulumi's engine shows it.

`pulumi-policy` is no dependency of polybus, so a double stands for it here: its classes as the pack calls them, and its
mappings, which raise when a value is read that a preview doesn't know yet. Where it is installed, the last test serves
the pack with it.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from polybus.clouds.aws.local import camel
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.plan.values import Join, Json, Ref, Resource, refs
from polybus.topology.file import load

ROOT = Path(__file__).parents[2]
TOPOLOGY = load(ROOT / "stacks" / "polybus.toml")
RULE_NAMES = {
    "encryption",
    "tls-only",
    "no-wildcards",
    "no-local-auth",
    "public-access",
    "dead-letters",
    "tls-everywhere",
    "bodies",
}
FAMOUS = '{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "sqs:*", "Resource": "*"}}'


class Unknown(Exception):
    """Raised by reading what isn't known."""


class Props(Mapping[str, Any]):
    """A resource's inputs; None stands for what isn't known."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        if value is None:
            raise Unknown(key)
        return Props(value) if isinstance(value, dict) else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


class Pack:
    """The policies that the pack made, by name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made: dict[str, Any] = {}
        module, proxy = ModuleType("pulumi_policy"), ModuleType("pulumi_policy.proxy")
        double: Any = module
        double.EnforcementLevel = SimpleNamespace(MANDATORY="mandatory")
        double.PolicyConfigSchema = SimpleNamespace
        double.ResourceValidationPolicy = lambda **given: SimpleNamespace(stack=False, **given)
        double.StackValidationPolicy = lambda **given: SimpleNamespace(stack=True, **given)
        double.PolicyPack = lambda **given: made.update(given)
        proxy.UnknownValueError = Unknown  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "pulumi_policy", module)
        monkeypatch.setitem(sys.modules, "pulumi_policy.proxy", proxy)
        runpy.run_path(str(ROOT / "stacks" / "policy"), run_name="__main__")
        self.level = made["enforcement_level"]
        self.policies = made["policies"]

    def run(self, resources: list[Any], **config: Any) -> set[tuple[str, str]]:
        """Give the rules that report, and on which resource."""
        found: set[tuple[str, str]] = set()
        for policy in self.policies:
            if policy.stack:
                args = SimpleNamespace(resources=resources)
                policy.validate(args, lambda _, urn, name=policy.name: found.add((name, urn)))
                continue
            for resource in resources:
                resource.get_config = lambda: config
                policy.validate(resource, lambda _, name=policy.name, at=resource.urn: found.add((name, at)))
        return found


@pytest.fixture
def pack(monkeypatch: pytest.MonkeyPatch) -> Pack:
    return Pack(monkeypatch)


def text(value: Any, known: bool) -> Any:
    """Give a property as the engine has it: JSON as text, None where it isn't known."""
    if not known and any(refs(value)):
        return None
    if isinstance(value, Json):
        return json.dumps(value.value, default=str)
    if isinstance(value, (Ref, Join)):
        return str(value)
    if isinstance(value, Mapping):
        return {camel(key): text(item, known) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [text(item, known) for item in value]
    return value


def shown(resources: tuple[Resource, ...], *, known: bool) -> list[Any]:
    """Give a plan's resources as the engine shows them to a pack."""
    made: dict[str, Any] = {}
    for resource in resources:
        if resource.kind == "lookup":
            continue
        depends = {
            camel(key): [made[ref.resource] for ref in refs(value) if ref.resource in made]
            for key, value in resource.properties.items()
        }
        props = {camel(key): text(value, known) for key, value in resource.properties.items()}
        made[resource.name] = SimpleNamespace(
            resource_type=resource.type,
            props=Props(props),
            urn=resource.name,
            name=resource.name,
            property_dependencies={key: targets for key, targets in depends.items() if targets},
        )
    return list(made.values())


def planned(cloud: str) -> tuple[Resource, ...]:
    principals = {name: azure.Principal("00000000-0000-0000-0000-000000000001") for name in TOPOLOGY.services}
    match cloud:
        case "aws":
            return aws.plan(TOPOLOGY, aws.AwsSettings(roles=dict.fromkeys(TOPOLOGY.services, "r"))).resources
        case "azure":
            return azure.plan(TOPOLOGY, azure.AzureSettings(principals=principals)).resources
    return gcp.plan(TOPOLOGY, gcp.GcpSettings(project_number="1")).resources


def test_the_pack_is_mandatory_and_has_every_rule(pack: Pack) -> None:
    assert pack.level == "mandatory"
    assert {policy.name for policy in pack.policies} == RULE_NAMES
    assert all(policy.description for policy in pack.policies)


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
@pytest.mark.parametrize("known", [True, False], ids=["up", "preview"])
def test_our_own_stack_keeps_every_rule(pack: Pack, cloud: str, known: bool) -> None:
    resources = shown(planned(cloud), known=known)
    assert len(resources) > 5
    assert pack.run(resources) == set()


def test_what_breaks_a_rule_is_reported_where_it_is(pack: Pack) -> None:
    resources = {resource.urn: resource for resource in shown(planned("aws"), known=True)}
    queue = next(name for name in resources if name.endswith("-queue"))
    resources[queue].props = Props({"name": "x", "sqsManagedSseEnabled": False})
    resources[f"{queue}-access"].props = Props({"policy": FAMOUS})
    redrive = queue.replace("-queue", "-redrive")
    found = pack.run([resource for name, resource in resources.items() if name != redrive])
    assert found == {
        ("encryption", queue),
        ("tls-only", f"{queue}-access"),
        ("no-wildcards", f"{queue}-access"),
        ("dead-letters", queue),
    }


BREAKS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("encryption", "aws", "orders-topic", {"kmsMasterKeyId": ""}),
    ("tls-only", "azure", "namespace", {"minimumTlsVersion": "1.0"}),
    ("no-wildcards", "gcp", "billing-agent", {"member": "allUsers"}),
    ("no-local-auth", "azure", "namespace", {"disableLocalAuth": False}),
    ("public-access", "azure", "namespace", {"publicNetworkAccess": "SecuredByPerimeter"}),
    ("dead-letters", "azure", "thumbnails-queue", {"maxDeliveryCount": 0}),
]


@pytest.mark.parametrize(("rule", "cloud", "name", "props"), BREAKS)
def test_each_rule_fails_on_what_breaks_it(pack: Pack, rule: str, cloud: str, name: str, props: dict[str, Any]) -> None:
    resources = {resource.urn: resource for resource in shown(planned(cloud), known=True)}
    resources[name].props = Props({**dict(resources[name].props), **props})
    assert (rule, name) in pack.run(list(resources.values()))


def test_each_rule_about_the_whole_stack_fails_without_what_it_asks_for(pack: Pack) -> None:
    resources = shown(planned("aws"), known=True)
    rest = [resource for resource in resources if resource.urn != "thumbnails-queue-access"]
    assert pack.run(rest) == {("tls-everywhere", "thumbnails-queue")}
    bucket = shown(
        [Resource("aws:s3/bucket:Bucket", "b", {"tags": {"polybus-bus": "shop"}}, "bodies", "$")], known=True
    )
    assert pack.run([*resources, *bucket]) == {("bodies", "b")}
    assert {rule for rule, *_ in BREAKS} | {"tls-everywhere", "bodies"} == RULE_NAMES


def test_public_access_is_as_the_packs_configuration_declares(pack: Pack) -> None:
    resources = shown(planned("azure"), known=True)
    assert pack.run(resources, declared=True) == set()
    assert pack.run(resources, declared=False) == {("public-access", "namespace")}


def test_the_pack_answers_pulumi_s_engine(say: Callable[[str], None]) -> None:
    """Serve the pack with the real `pulumi-policy`, where it is installed, and ask it over the engine's protocol."""
    if find_spec("pulumi_policy") is None:
        say("pulumi-policy isn't installed: the policy pack ran with a double of its classes alone")
        return
    script = [sys.executable, "-m", "tests.provision.policy_served", str(ROOT)]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)
    assert answers["name"] == "polybus"
    assert set(answers["policies"]) == RULE_NAMES
    assert [answers[cloud] for cloud in ("aws", "azure", "gcp")] == [[[], []]] * 3
    assert answers["broken"] == [
        ["dead-letters", "billing-dead-letters"],
        ["dead-letters", "billing-queue"],
        ["tls-everywhere", "billing-queue"],
    ]
