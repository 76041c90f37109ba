"""The component: one resource a plan value, named and parented, isolated, and known in a preview as far as can be."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pulumi
import pytest
from pulumi.output import Unknown

from polybus.binding import Binding
from polybus.clouds.aws.plan import resources as aws
from polybus.clouds.azure.plan import resources as azure
from polybus.clouds.gcp.plan import resources as gcp
from polybus.errors import ConfigError, MissingExtra, UnsupportedFeature
from polybus.installed import requirement
from polybus.plan.values import Resource
from polybus.provision import MessageBus, binding_of
from polybus.provision.cloud import cloud_named
from polybus.provision.sdk import Sdk
from polybus.topology.file import load, loads
from polybus.topology.model import Topology

from . import runner, simulated

TOPOLOGY = load(runner.STACKS / "polybus.toml")
SMALL = loads('[bus]\nname = "small"\n[topics.news]\n[subscriptions.mail]\ntopic = "news"\n', source="small.toml")
PLANS: Mapping[str, tuple[Any, tuple[Resource, ...]]] = {
    "aws": (aws.AwsSettings(stack="dev"), aws.plan(TOPOLOGY, aws.AwsSettings(stack="dev")).resources),
    "azure": (azure.AzureSettings(stack="dev"), azure.plan(TOPOLOGY, azure.AzureSettings(stack="dev")).resources),
    "gcp": (gcp.GcpSettings(stack="dev"), gcp.plan(TOPOLOGY, gcp.GcpSettings(stack="dev")).resources),
}


def program(name: str = "shop", topology: Topology = TOPOLOGY, cloud: str = "aws", **more: Any) -> Callable[[], None]:
    def make() -> None:
        bus = MessageBus(name, topology=topology, cloud=cloud, **more)
        pulumi.export("polybus", bus.binding)

    return make


def run(made: Callable[[], None], **more: Any) -> runner.Run:
    return runner.run(made, simulated.create, look=simulated.look, **more)


def test_pulumi_is_told_of_what_azure_refuses_to_change_and_its_provider_tries() -> None:
    done = run(program(cloud="azure", settings=PLANS["azure"][0]))
    told = {item.type: item.options for item in done.resources if "replaceOnChanges" in item.options}
    assert list(told) == ["azure-native:servicebus:Subscription"]
    [options] = told.values()
    assert (options["replaceOnChanges"], options["deleteBeforeReplace"]) == (["requiresSession"], True)


@pytest.mark.parametrize("cloud", PLANS)
def test_every_plan_value_is_one_registered_child(cloud: str) -> None:
    settings, planned = PLANS[cloud]
    done = run(program(cloud=cloud, settings=settings))
    [component] = done.of("polybus:index:MessageBus")
    children = [resource for resource in done.resources if resource is not component]
    assert sorted((child.type, child.name) for child in children) == sorted(
        (resource.type, f"shop-{resource.name}") for resource in planned if resource.kind != "lookup"
    )
    assert {child.parent for child in children} == {component.urn}
    assert component.parent.endswith("::pulumi:pulumi:Stack::polybus-dev")
    assert len({child.urn for child in children}) == len(children)


@pytest.mark.parametrize("cloud", PLANS)
def test_order_without_reference_is_a_dependency(cloud: str) -> None:
    settings, planned = PLANS[cloud]
    done = run(program(cloud=cloud, settings=settings))
    for resource in planned:
        after = {f"shop-{name}" for name in resource.after}
        if after:
            assert after <= set(done.named(f"shop-{resource.name}").options["dependencies"])


@pytest.mark.parametrize("cloud", PLANS)
def test_protect_holds_all_that_there_is(cloud: str) -> None:
    settings, planned = PLANS[cloud]
    done = run(program(cloud=cloud, settings=settings, protect=True))
    held = {resource.name for resource in done.resources if resource.options.get("protect")}
    assert held == {"shop", *(f"shop-{resource.name}" for resource in planned if resource.kind != "lookup")}
    assert not [one for one in run(program(cloud=cloud, settings=settings)).resources if one.options.get("protect")]


def test_the_engine_is_told_what_stays_when_the_stack_goes() -> None:
    key = "projects/p/locations/europe/keyRings/r/cryptoKeys/k"
    settings = gcp.GcpSettings(stack="dev", kms_key=key)
    done = run(program(cloud="gcp", settings=settings))
    left = [resource.name for resource in done.resources if resource.options.get("retainOnDelete")]
    assert left == [f"shop-{one.name}" for one in gcp.plan(TOPOLOGY, settings).resources if one.stays]
    assert left == ["shop-bus.key-agent"]


def test_the_component_s_own_options_reach_its_children() -> None:
    def make() -> None:
        provider = __import__("pulumi_aws").Provider("elsewhere", region="eu-north-1")
        opts = pulumi.ResourceOptions(providers=[provider], protect=True)
        MessageBus("small", topology=SMALL, cloud="aws", opts=opts)

    done = run(make)
    queue = done.named("small-mail-queue")
    assert queue.options["protect"] is True
    assert "elsewhere" in queue.options["provider"]


def test_two_buses_live_in_one_program() -> None:
    def make() -> None:
        for name in ("one", "two"):
            settings = aws.AwsSettings(stack=name)
            bus = MessageBus(name, topology=SMALL, cloud="aws", settings=settings)
            pulumi.export(name, bus.binding)

    done = run(make)
    urns = [resource.urn for resource in done.resources]
    assert len(set(urns)) == len(urns)
    addresses = {name: done.outputs[name]["topics"]["news"]["address"] for name in ("one", "two")}
    assert addresses["one"].endswith(":small-one-news")
    assert addresses["two"].endswith(":small-two-news")


def test_each_of_two_buses_has_its_own_provider() -> None:
    def make() -> None:
        for region in ("eu-north-1", "us-east-2"):
            provider = __import__("pulumi_aws").Provider(f"in-{region}", region=region)
            opts = pulumi.ResourceOptions(providers=[provider])
            MessageBus(f"bus-{region}", topology=SMALL, cloud="aws", opts=opts)

    done = run(make)
    children = [one for one in done.resources if one.type.startswith("aws:")]
    assert len(children) > 10
    for child in children:
        region = "eu-north-1" if "eu-north-1" in child.name else "us-east-2"
        assert f"::in-{region}::" in child.options["provider"]


def test_a_renamed_bus_tells_the_engine_what_it_was_and_so_do_its_children() -> None:
    def make() -> None:
        opts = pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")])
        MessageBus("small", topology=SMALL, cloud="aws", opts=opts)

    done = run(make)
    [component] = done.of("polybus:index:MessageBus")
    assert "old" in "".join(component.options["aliases"])
    for child in done.resources:
        if child is not component:
            # The engine gives a child whose name begins with its parent's the same alias, by that rule.
            assert child.name.startswith("small-")
            was = child.name.replace("small-", "old-", 1)
            aliases = "".join(child.options.get("aliases", []))
            assert aliases == "" or was in aliases


def test_names_of_one_s_own_reach_the_cloud_and_the_binding() -> None:
    text = '[bus]\nname = "b"\n[queues.jobs]\n[queues.jobs.aws]\nname = "the-team-s_jobs"\n'
    done = run(program("mine", loads(text, source="my.toml")))
    assert done.named("mine-jobs-queue").inputs["name"] == "the-team-s_jobs"
    assert done.outputs["polybus"]["queues"]["jobs"]["address"].endswith("/the-team-s_jobs")


def test_a_topology_may_be_given_as_its_file() -> None:
    def make() -> None:
        bus = MessageBus("shop", topology=str(runner.STACKS / "polybus.toml"), cloud="gcp")
        pulumi.export("polybus", bus.binding)
        pulumi.export("children", sorted(bus.children))

    done = run(make)
    assert done.outputs["polybus"]["bus"] == "shop"
    assert "billing-subscription" in done.outputs["children"]


def test_the_component_registers_the_binding_as_its_output() -> None:
    done = run(program())
    [component] = done.of("polybus:index:MessageBus")
    assert done.registered_outputs[component.urn]["binding"] == done.outputs["polybus"]
    assert set(done.registered_outputs[component.urn]) == {
        *("binding", "bindings", "topics", "subscriptions", "queues", "policies"),
    }


def test_a_preview_knows_all_that_the_cloud_does_not_decide() -> None:
    """Before anything is created a provider has no ARNs and URLs: they alone are unknown."""
    made = runner.run(program(), lambda type_, name, inputs: {}, look=simulated.look, preview=True)
    binding = made.outputs["polybus"]
    known = run(program()).outputs["polybus"]
    assert binding.keys() == known.keys()
    for section in ("topics", "subscriptions", "queues"):
        for name, entity in known[section].items():
            previewed = binding[section][name]
            unknown = {key for key, value in previewed.items() if isinstance(value, Unknown)}
            assert unknown == {"address", "dead_letter"} & entity.keys()
            assert {**previewed, **{key: entity[key] for key in unknown}} == entity


# -- Runs don't touch each other ---------------------------------------------------------------------------------------


def test_exports_of_one_run_are_not_in_the_next() -> None:
    first = run(program(), stack_name="first")
    second = run(lambda: pulumi.export("only", 1), stack_name="second")
    assert set(first.outputs) == {"polybus"}
    assert second.outputs == {"only": 1}
    assert [resource.urn.split("::")[0] for resource in first.resources[:1]] == ["urn:pulumi:first"]


def test_configuration_of_one_run_is_not_in_the_next() -> None:
    def show() -> None:
        pulumi.export("cloud", pulumi.Config("polybus").get("cloud") or "none")

    assert run(show, values={"polybus:cloud": "gcp"}).outputs == {"cloud": "gcp"}
    assert run(show).outputs == {"cloud": "none"}


def test_runs_in_threads_at_once_are_as_if_alone() -> None:
    together = threading.Barrier(3)

    def one(cloud: str) -> runner.Run:
        together.wait()
        return run(program(cloud=cloud, settings=PLANS[cloud][0]), stack_name=cloud)

    with ThreadPoolExecutor(3) as threads:
        runs = dict(zip(PLANS, threads.map(one, PLANS), strict=True))
    for cloud, done in runs.items():
        assert done.outputs["polybus"]["backend"] == cloud
        assert {resource.urn.split("::")[0] for resource in done.resources} == {f"urn:pulumi:{cloud}"}
        assert done.outputs == run(program(cloud=cloud, settings=PLANS[cloud][0]), stack_name=cloud).outputs


def test_what_a_provider_refuses_fails_the_run() -> None:
    def refuse(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        raise ValueError(f"{name}: no")

    with pytest.raises(ValueError, match=r": no$"):
        runner.run(program("small", SMALL), refuse)


# -- What is wrong is said before the first resource -------------------------------------------------------------------


def refusal(made: Callable[[], None], error: type[Exception]) -> str:
    done: list[str] = []

    def create(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        done.append(name)
        return {}

    with pytest.raises(error) as raised:
        runner.run(made, create)
    assert done == []
    return str(raised.value)


def test_an_argument_that_the_provider_does_not_know_is_refused_with_its_place() -> None:
    text = (
        '[bus]\nname = "b"\n[topics.orders]\n[topics.orders.aws]\nkms_master_key = "k"\n[queues.jobs.aws]\ndelay = 1\n'
    )
    words = refusal(program(topology=loads(text, source="my.toml")), ConfigError)
    assert "my.toml: at $.topics.orders.aws.kms_master_key: aws:sns/topic:Topic has no such argument" in words
    assert "did you mean kms_master_key_id?" in words
    assert "my.toml: at $.queues.jobs.aws.delay: aws:sqs/queue:Queue has no such argument" in words


@pytest.mark.parametrize(
    ("cloud", "type_", "given", "words"),
    [
        (
            "gcp",
            "gcp:pubsub/subscription:Subscription",
            {"push_config": {"push_endpoint": "https://x", "oidc_token": {"audiense": "x"}}},
            "push_config.oidc_token.audiense: {type} has no such argument; did you mean audience?",
        ),
        (
            "gcp",
            "gcp:pubsub/subscription:Subscription",
            {"message_transforms": [{"disabled": True}, {"disable": True}]},
            "message_transforms[1].disable: {type} has no such argument; did you mean disabled?",
        ),
        (
            "azure",
            "azure-native:servicebus:Namespace",
            {"sku": {"name": "Premium", "size": 1}},
            "sku.size: {type} has no such argument; did you mean tier?",
        ),
        ("aws", "aws:sqs/queue:Queue", {"tags": {"any": "tag"}, "dly": 1}, "dly: {type} has no such argument"),
        # One of several forms, whose keys Pulumi hands on as they stand.
        (
            "azure",
            "azure-native:monitor:MetricAlert",
            {"criteria": {"odataType": "x", "allOf": []}, "scope": []},
            "scope: {type} has no such argument; did you mean scopes?",
        ),
    ],
)
def test_names_inside_an_argument_are_held_to_the_provider_s(
    cloud: str, type_: str, given: dict[str, Any], words: str
) -> None:
    """The SDK that is installed has the last word, whatever the table of names says of another version."""
    resource = Resource(type_, "x", given, "queue", "$.queues.x")
    with pytest.raises(ConfigError) as raised:
        cloud_named(cloud).sdk.check([resource], "my.toml", cloud)
    assert str(raised.value) == f"my.toml: at $.queues.x.{cloud}.{words.format(type=type_)}"


def test_what_the_cloud_can_not_do_is_refused_with_its_place() -> None:
    text = '[bus]\nname = "b"\n[queues.jobs]\nmax_delay = "5m"\n'
    words = refusal(program(topology=loads(text, source="my.toml"), cloud="gcp"), UnsupportedFeature)
    assert words.startswith("my.toml: at $.queues.jobs.max_delay: gcp: found 5m; Pub/Sub has no delay")


def test_another_cloud_s_settings_are_refused() -> None:
    words = refusal(program(settings=gcp.GcpSettings()), ConfigError)
    assert words == "settings: found GcpSettings; aws takes AwsSettings"


def test_an_unknown_cloud_is_refused() -> None:
    assert refusal(program(cloud="azrue"), ConfigError).endswith("allowed: aws, azure, gcp; did you mean azure?")


def test_a_missing_provider_sdk_says_what_to_install() -> None:
    sdk = Sdk("pulumi_nowhere", "aws-stack")
    missing = f"pulumi-nowhere is not installed: pip install {requirement('aws-stack')}"
    with pytest.raises(MissingExtra, match=re.escape(missing)):
        sdk.resource("aws:sqs/queue:Queue")


def test_a_cloud_is_chosen_without_any_other_s_sdk() -> None:
    assert cloud_named("gcp").sdk.package == "pulumi_gcp"
    assert [cloud_named(name).name for name in ("aws", "azure", "gcp")] == ["aws", "azure", "gcp"]


# -- Another stack's binding -------------------------------------------------------------------------------------------


def stack_reference(outputs: Mapping[str, Any]) -> Callable[[str, str, Mapping[str, Any]], dict[str, Any]]:
    def create(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        assert type_ == "pulumi:pulumi:StackReference"
        return {"id": name, "name": name, "outputs": dict(outputs), "secretOutputNames": []}

    return create


def refer() -> None:
    pulumi.export("variable", binding_of("acme/polybus/aws-dev"))


def test_a_stack_reference_gives_the_binding_as_services_read_it() -> None:
    done = runner.run(refer, stack_reference(run(program()).outputs))
    binding = Binding.from_json(done.outputs["variable"])
    assert binding.backend == "aws"
    assert binding.subscriptions["billing"].max_attempts == 5


def test_a_stack_without_a_binding_is_named() -> None:
    with pytest.raises(pulumi.RunError, match=r"the stack acme/polybus/aws-dev exports no 'polybus'"):
        runner.run(refer, stack_reference({"other": 1}))


def test_the_binding_of_another_stack_is_known_in_a_preview_too() -> None:
    outputs = run(program()).outputs
    previewed = runner.run(refer, stack_reference(outputs), preview=True).outputs["variable"]
    assert previewed == runner.run(refer, stack_reference(outputs)).outputs["variable"]
    with pytest.raises(pulumi.RunError, match=r"the stack acme/polybus/aws-dev exports no 'polybus'"):
        runner.run(refer, stack_reference({}), preview=True)


def test_a_reference_that_is_there_another_output_and_a_binding_that_is_text_do_too() -> None:
    def of_another() -> None:
        reference = pulumi.StackReference("acme/shop/prod")
        pulumi.export("variable", binding_of(reference, output="bindingJson"))

    text = runner.stack_output(run(program()))
    done = runner.run(of_another, stack_reference({"bindingJson": text}))
    assert done.outputs["variable"] == text


def test_a_resource_that_is_written_by_hand_is_held_to_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream:
        def __init__(self, resource_name: str, opts: object = None, *, name: str, retention: int = 0) -> None: ...

    monkeypatch.setattr(Sdk, "resource", lambda self, type_: Stream)
    wrong = Resource("acme:index/stream:Stream", "jobs", {"name": "jobs", "retentoin": 7}, "queue", "$.queues.jobs")
    with pytest.raises(ConfigError, match=r"jobs\.acme\.retentoin: .* no such argument; did you mean retention\?"):
        Sdk("acme", "").check([wrong], "shop.toml", "acme")
