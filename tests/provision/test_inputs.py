"""Settings that are outputs of other resources: known, unknown, secret and awaited, on all three clouds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pulumi
import pulumi_aws
import pytest
from pulumi.output import Unknown

from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan.namespace import AzureSettings, CustomerKey, Principal
from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.errors import ConfigError
from polybus.plan.names import short_hash
from polybus.provision import MessageBus
from polybus.topology.file import loads

from . import runner, simulated

SHOP = """
[bus]
name = "shop"
[topics.orders]
[subscriptions.billing]
topic = "orders"
[subscriptions.mail]
topic = "orders"
push = { function = "mailer" }
[services.billing]
consumes = ["billing"]
publishes = ["orders"]
[alarms]
notify = { email = "ops@example.com" }
"""
Input = Callable[[str], Any]
ALIAS = "arn:aws:lambda:eu-west-1:111122223333:function:mailer:live"
KMS = "arn:aws:kms:eu-west-1:111122223333:key/1"
ROLE = "arn:aws:iam::111122223333:role/team/billing"
ZONE = (
    "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/privateDnsZones/privatelink.servicebus.windows.net"
)
SUBNET = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s"
IDENTITY = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i"
WHO = "00000000-0000-0000-0000-000000000001"
FUNCTION = "00000000-0000-0000-0000-000000000002"
MEMBER = "serviceAccount:billing@p.iam.gserviceaccount.com"
RING = "projects/p/locations/europe/keyRings/r/cryptoKeys/k"


def aws(made: Input) -> AwsSettings:
    return AwsSettings(
        stack="dev",
        kms_key=made(KMS),
        vpc_endpoints=("vpce-1", made("vpce-2")),
        roles={"billing": made(ROLE)},
        functions={"mailer": made(ALIAS)},
    )


def azure(made: Input) -> AzureSettings:
    return AzureSettings(
        stack="dev",
        location=made("westeurope"),
        namespace="shop-dev",
        resource_group=made("the-group"),
        sku="Premium",
        subnet=made(SUBNET),
        private_dns_zone=made(ZONE),
        customer_key=CustomerKey(made("https://v.vault.azure.net"), made("key"), made(IDENTITY)),
        principals={"billing": made(WHO)},
        functions={"mailer": Principal(made(FUNCTION))},
    )


def gcp(made: Input) -> GcpSettings:
    return GcpSettings(
        stack="dev",
        project="p",
        project_number=made("42"),
        kms_key=made(RING),
        push_account=made("push@p.iam.gserviceaccount.com"),
        members={"billing": made(MEMBER)},
        functions={"mailer": made("https://mailer.example.com/in")},
    )


CLOUDS: Mapping[str, Callable[[Input], Any]] = {"aws": aws, "azure": azure, "gcp": gcp}


async def _soon(value: str) -> str:
    return value


def unknown(value: str) -> pulumi.Output[str]:
    """Give an output as a preview has it of what isn't there yet."""
    return pulumi.Output(set(), _future(None), _future(False), _future(False))


async def _future(value: Any) -> Any:
    return value


def create(type_: str, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    made = simulated.create(type_, name, given)
    if type_ == "aws:iam/role:Role":
        made["arn"] = f"arn:aws:iam::111122223333:role/{given['name']}"
    if pulumi.runtime.is_dry_run():
        made = {}
    if type_ == "azure-native:servicebus:Namespace":
        # A list going in, a mapping coming back.
        made["identity"] = {"type": "UserAssigned", "userAssignedIdentities": {}}
    return made


def done(cloud: str, made: Input, *, preview: bool = False) -> runner.Run:
    def program() -> None:
        topology = loads(SHOP, source="shop.toml")
        bus = MessageBus("shop", topology=topology, cloud=cloud, settings=CLOUDS[cloud](made))
        pulumi.export("polybus", bus.binding)
        for name, value in bus.exports.items():
            pulumi.export(name, value)

    return runner.run(program, create, look=simulated.look, preview=preview)


# Grants are called by whom they are for, and while that isn't known by the setting that says it.
CALLED = {
    "shop-principals-billing.": f"shop-{WHO}.",
    "shop-functions-mailer-id.": f"shop-{FUNCTION}.",
    "shop-members-billing.": f"shop-billing-{short_hash(MEMBER)}.",
}


def inputs(run: runner.Run) -> dict[str, Mapping[str, Any]]:
    found = {one.name: one.inputs for one in run.resources}
    for given, known in CALLED.items():
        found = {name.replace(given, known): arguments for name, arguments in found.items()}
    return found


@pytest.mark.parametrize("made", [pulumi.Output.from_input, _soon], ids=["output", "awaitable"])
@pytest.mark.parametrize("cloud", CLOUDS)
def test_outputs_come_to_the_same_resources_as_text(cloud: str, made: Input) -> None:
    text, output = done(cloud, str), done(cloud, made)
    assert inputs(output) == inputs(text)
    assert output.outputs == text.outputs


def differences(known: Any, found: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give every leaf that isn't as it was, with what there is instead."""
    if isinstance(known, Mapping) and isinstance(found, Mapping):
        for key in known.keys() | found.keys():
            yield from differences(known.get(key), found.get(key), f"{path}.{key}")
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        for at, (one, other) in enumerate(zip(known, found, strict=True)):
            yield from differences(one, other, f"{path}[{at}]")
    elif known != found and not (isinstance(known, Unknown) and isinstance(found, Unknown)):
        yield path, found


# What rests on the settings of this module, by cloud: of the whole resource where all of it does.
RESTS = {
    # Policies have ARNs in them, which no preview knows.
    "aws": {"kmsMasterKeyId", "function", "qualifier", "role", "endpoint"},
    "azure": {
        *("resourceGroupName", "location", "subnet.id", "privateDnsZoneConfigs[0].privateDnsZoneId"),
        *("identity.userAssignedIdentities[0]", "encryption.keyVaultProperties[0].identity.userAssignedIdentity"),
        *("encryption.keyVaultProperties[0].keyName", "encryption.keyVaultProperties[0].keyVaultUri"),
        *("principalId", "roleAssignmentName"),
    },
    "gcp": {
        *("member", "cryptoKeyId", "kmsKeyName", "pushConfig.pushEndpoint"),
        *("pushConfig.oidcToken.audience", "pushConfig.oidcToken.serviceAccountEmail"),
    },
}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_a_preview_does_not_know_yet_is_unknown_and_nothing_else_is(cloud: str) -> None:
    known, previewed = (inputs(done(cloud, made, preview=True)) for made in (str, unknown))
    assert previewed.keys() == known.keys()
    found = [one for name in known for one in differences(known[name], previewed[name], f"{name}:")]
    assert {path.partition(":.")[2] for path, _ in found} == RESTS[cloud]
    assert [path for path, leaf in found if not isinstance(leaf, Unknown)] == []


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_secret_stays_one(cloud: str) -> None:
    secret = inputs(done(cloud, pulumi.Output.secret))
    key = {
        "aws": ("shop-orders-topic", "kmsMasterKeyId"),
        "azure": ("shop-private-endpoint", "subnet"),
        "gcp": ("shop-orders-topic", "kmsKeyName"),
    }
    name, argument = key[cloud]
    assert "4dabf18193072939515e22adb298388d" in repr(secret[name][argument])


OUT = pulumi.Output.from_input


@pytest.mark.parametrize(
    ("cloud", "settings", "words"),
    [
        ("aws", lambda: AwsSettings(stack=OUT("dev")), "aws settings: stack: found an output of another resource"),
        ("aws", lambda: AwsSettings(tags={"a": OUT("b")}), "aws settings: tags.a: found an output of another resource"),
        ("aws", lambda: AwsSettings(roles=OUT({"billing": "r"})), "aws settings: roles: found an output as a whole"),
        ("azure", lambda: AzureSettings(namespace=OUT("n")), "azure settings: namespace: found an output of another"),
        (
            "azure",
            lambda: AzureSettings(location=OUT("l")),
            "azure namespace: not set; with a location",
        ),
        (
            "gcp",
            lambda: GcpSettings(regions=(OUT("r"),)),
            "gcp settings: regions[0]: found an output of another",
        ),
    ],
)
def test_where_an_output_can_not_stand_it_is_refused_by_name(
    cloud: str, settings: Callable[[], Any], words: str
) -> None:
    def program() -> None:
        MessageBus("shop", topology=loads(SHOP, source="shop.toml"), cloud=cloud, settings=settings())

    with pytest.raises(ConfigError) as caught:
        runner.run(program, simulated.create, look=simulated.look)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("cloud", "changed", "words"),
    [
        ("aws", lambda: replace(aws(str), kms_key=OUT("alias/mine")), "aws kmsKey: found 'alias/mine'; allowed"),
        ("aws", lambda: replace(aws(str), vpc_endpoints=(OUT("vpc-1"),)), "aws vpcEndpoints: found 'vpc-1'; allowed"),
        ("azure", lambda: replace(azure(str), private_dns_zone=OUT("z")), "azure privateDnsZone: found 'z'; allowed"),
        ("gcp", lambda: replace(gcp(str), kms_key=OUT("key")), "gcp kmsKey: found 'key'; allowed"),
        (
            "gcp",
            lambda: replace(gcp(str), members={"billing": OUT("b@p")}),
            "gcp members.billing: found 'b@p'; allowed",
        ),
        ("azure", lambda: replace(azure(str), principals={"billing": OUT("b")}), "azure principals.billing: found 'b'"),
        ("azure", lambda: replace(azure(str), subnet=OUT("s")), "azure subnet: found 's'; allowed"),
    ],
)
def test_what_an_output_turns_out_to_be_is_held_to_the_same_rules(
    cloud: str, changed: Callable[[], Any], words: str
) -> None:
    def program() -> None:
        MessageBus("shop", topology=loads(SHOP, source="shop.toml"), cloud=cloud, settings=changed())

    with pytest.raises(Exception, match=re.escape(words)):
        runner.run(program, create, look=simulated.look)


def test_a_role_or_function_of_the_same_program_is_what_it_is_for() -> None:
    def program() -> None:
        role = pulumi_aws.iam.Role("billing", name="shop-billing", assume_role_policy="{}")
        bus = replace(aws(str), roles={"billing": role.arn}, functions={"mailer": OUT(ALIAS)})
        MessageBus("shop", topology=loads(SHOP, source="shop.toml"), cloud="aws", settings=bus)

    run = runner.run(program, create, look=simulated.look)
    attached = run.named("shop-billing-role")
    assert attached.inputs["role"] == "shop-billing"
    assert "billing" in attached.options["dependencies"]


def test_the_address_of_a_cloud_run_service_that_is_an_output_leaves_the_grant_to_the_program() -> None:
    address = "https://mailer-12.europe-west1.run.app"

    def names(made: Input) -> set[str]:
        settings = lambda: replace(gcp(str), functions={"mailer": made(address)})  # noqa: E731
        return {one.name for one in done_with("gcp", settings).resources}

    known, later = names(str), names(OUT)
    assert known - later == {"shop-run.12.europe-west1.mailer-invoker"}


def done_with(cloud: str, settings: Callable[[], Any]) -> runner.Run:
    def program() -> None:
        MessageBus("shop", topology=loads(SHOP, source="shop.toml"), cloud=cloud, settings=settings())

    return runner.run(program, create, look=simulated.look)
