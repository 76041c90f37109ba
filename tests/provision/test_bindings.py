"""Each service's own binding: as the component's output, of another stack, in a parameter that the service reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pulumi
import pytest
from pulumi.output import Unknown

from polybus.binding import Binding
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan.namespace import AzureSettings, Principal
from polybus.clouds.azure.plan.rights import CONFIG_READER, SECRETS_USER
from polybus.clouds.gcp.plan.resources import GcpSettings
from polybus.errors import ConfigError
from polybus.provision import MessageBus, binding_of
from polybus.topology.file import load

from . import runner, simulated

TOPOLOGY = load(runner.STACKS / "polybus.toml")
SERVICES = set(TOPOLOGY.services)


def exported(cloud: str, settings: Any = None, **more: Any) -> runner.Run:
    def program() -> None:
        bus = MessageBus("shop", topology=TOPOLOGY, cloud=cloud, settings=settings)
        pulumi.export("polybus", bus.binding)
        pulumi.export("bindings", bus.bindings)
        for name, value in bus.exports.items():
            pulumi.export(name, value)

    return runner.run(program, simulated.create, look=simulated.look, **more)


@pytest.mark.parametrize("cloud", ["aws", "azure", "gcp"])
def test_each_service_has_its_own_binding_as_text(cloud: str) -> None:
    done = exported(cloud)
    whole = Binding.from_json(runner.stack_output(done))
    assert set(done.outputs["bindings"]) == SERVICES
    for service, text in done.outputs["bindings"].items():
        assert Binding.from_json(text) == whole.for_service(service)
        assert json.loads(text) == whole.for_service(service).to_compact()
    [component] = done.of("polybus:index:MessageBus")
    assert done.registered_outputs[component.urn]["bindings"] == done.outputs["bindings"]


def test_a_stack_exports_them() -> None:
    done = runner.run_stack("aws-dev", simulated.create, look=simulated.look)
    assert set(done.outputs["bindings"]) == SERVICES


# -- Of another stack --------------------------------------------------------------------------------------------------


def stack_reference(outputs: Mapping[str, Any]) -> Callable[[str, str, Mapping[str, Any]], dict[str, Any]]:
    def create(type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {"id": name, "name": name, "outputs": dict(outputs), "secretOutputNames": []}

    return create


def test_another_stack_s_binding_can_be_had_for_one_service() -> None:
    outputs = exported("aws").outputs

    def program() -> None:
        pulumi.export("variable", binding_of("acme/polybus/aws-dev", service="billing"))

    done = runner.run(program, stack_reference(outputs))
    assert done.outputs["variable"] == outputs["bindings"]["billing"]


def test_a_service_that_another_stack_has_not_is_named_with_the_stack() -> None:
    def program() -> None:
        pulumi.export("variable", binding_of("acme/polybus/aws-dev", service="biling"))

    with pytest.raises(pulumi.RunError, match=r"the stack acme/polybus/aws-dev: service 'biling' is not declared"):
        runner.run(program, stack_reference(exported("aws").outputs))


# -- In a secret -------------------------------------------------------------------------------------------------------


def opened(value: Any) -> str:
    """Give the text of what the SDK keeps secret."""
    text: str = value["value"] if isinstance(value, dict) else value
    return text


def test_google_puts_each_service_s_into_a_secret_that_its_member_alone_may_read() -> None:
    member = "serviceAccount:billing@p.iam.gserviceaccount.com"
    settings = GcpSettings(stack="dev", project="p", bindings="secretmanager", members={"billing": member})
    done = exported("gcp", settings)
    for service in SERVICES:
        version = done.named(f"shop-{service}.binding-version").inputs
        assert Binding.from_json(opened(version["secretData"])) == Binding.from_json(done.outputs["bindings"][service])
        secret = done.named(f"shop-{service}.binding").inputs
        assert runner.whole(secret["replication"]) == {"auto": {}}
        assert done.outputs["bindingReferences"][service] == f"secretmanager:{version['secret']}"
    readers = done.of("gcp:secretmanager/secretIamMember:SecretIamMember")
    assert [(one.name, one.inputs["member"], one.inputs["role"]) for one in readers] == [
        ("shop-billing.binding-reader", member, "roles/secretmanager.secretAccessor")
    ]


def test_a_secret_stays_in_the_stack_s_regions() -> None:
    settings = GcpSettings(stack="dev", project="p", bindings="secretmanager", regions=("europe-west1",))
    secret = exported("gcp", settings).named("shop-billing.binding").inputs
    assert secret["replication"] == {"userManaged": {"replicas": [{"location": "europe-west1"}]}}


# -- In a key vault, or in App Configuration --------------------------------------------------------------------------

GROUP = "/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/ops/providers"
VAULT = f"{GROUP}/Microsoft.KeyVault/vaults/shop"
STORE = f"{GROUP}/Microsoft.AppConfiguration/configurationStores/Shop"
BILLING = "00000000-0000-0000-0000-000000000001"


def on_azure(where: str, **more: Any) -> runner.Run:
    functions = {"mailer": Principal(BILLING)}
    principals = {"billing": Principal(BILLING)}
    given: Any = {
        "stack": "dev",
        "namespace": "shopbus",
        "location": "westeurope",
        "principals": principals,
        "functions": functions,
    }
    return exported("azure", AzureSettings(bindings=where, **given, **more))


def roles(run: runner.Run) -> list[tuple[str, str]]:
    found = run.of("azure-native:authorization:RoleAssignment")
    given = [(one.inputs["roleDefinitionId"].rpartition("/")[2], one.inputs["scope"]) for one in found]
    return [one for one in given if one[0] in (SECRETS_USER, CONFIG_READER)]


def test_azure_puts_each_service_s_into_a_secret_that_its_identity_alone_may_read() -> None:
    done = on_azure(VAULT)
    for service in SERVICES:
        secret = done.named(f"shop-{service}.binding").inputs
        assert (secret["vaultName"], secret["resourceGroupName"]) == ("shop", "ops")
        assert secret["secretName"] == f"polybus-shopbus-{service}"
        held = runner.whole(secret["properties"])
        assert Binding.from_json(opened(held["value"])) == Binding.from_json(done.outputs["bindings"][service])
        address = f"https://shop.vault.azure.net/secrets/polybus-shopbus-{service}"
        assert done.outputs["bindingReferences"][service] == f"keyvault:{address}"
    [(role, scope)] = roles(done)
    assert (role, scope.rpartition("/")[2]) == (SECRETS_USER, "shop-billing.binding")


def test_a_store_has_rights_as_a_whole() -> None:
    done = on_azure(STORE)
    value = done.named("shop-billing.binding").inputs
    assert (value["configStoreName"], value["keyValueName"]) == ("Shop", "polybus-shopbus-billing")
    address = "https://shop.azconfig.io/kv/polybus-shopbus-billing"
    assert done.outputs["bindingReferences"]["billing"] == f"appconfig:{address}"
    assert roles(done) == [(CONFIG_READER, STORE)]


def test_other_clouds_have_other_vaults() -> None:
    done = on_azure(VAULT, environment="china")
    assert ".vault.azure.cn/" in done.outputs["bindingReferences"]["billing"]


def test_a_vault_of_another_subscription_is_refused() -> None:
    words = r"azure bindings: found .*; allowed: one of the stack's own subscription"
    with pytest.raises((pulumi.RunError, ConfigError), match=words):
        on_azure(VAULT, subscription_id="22222222-2222-3333-4444-555555555555")


# -- In a parameter ----------------------------------------------------------------------------------------------------


def parameters(run: runner.Run) -> dict[str, Mapping[str, Any]]:
    return {one.name: one.inputs for one in run.of("aws:ssm/parameter:Parameter")}


def test_without_being_asked_for_there_are_none() -> None:
    done = exported("aws", AwsSettings(stack="dev"))
    assert parameters(done) == {}
    assert "bindingReferences" not in done.outputs


def test_each_service_s_is_put_into_a_parameter_that_it_alone_may_read() -> None:
    roles = {"billing": "shop-billing"}
    done = exported("aws", AwsSettings(stack="dev", bindings="ssm", roles=roles))
    made = parameters(done)
    assert set(made) == {f"shop-{service}-binding" for service in SERVICES}
    for service in SERVICES:
        parameter = made[f"shop-{service}-binding"]
        assert parameter["name"] == f"/polybus/shop/dev/{service}"
        assert (parameter["type"], parameter["tier"]) == ("String", "Intelligent-Tiering")
        assert Binding.from_json(parameter["insecureValue"]) == Binding.from_json(done.outputs["bindings"][service])
        assert done.outputs["bindingReferences"][service] == f"ssm:/polybus/shop/dev/{service}"
        [*_, last] = json.loads(done.outputs["policies"][service])["Statement"]
        arn = f"arn:aws:ssm:eu-west-1:111122223333:/polybus/shop/dev/{service}"
        assert (last["Action"], last["Resource"]) == (["ssm:GetParameter"], [arn])
    assert done.named("shop-billing-rights").inputs["policy"] == done.outputs["policies"]["billing"]


def test_the_parameter_of_one_stack_is_never_another_s() -> None:
    names = [
        {one["name"] for one in parameters(exported("aws", AwsSettings(stack=stack, bindings="ssm"))).values()}
        for stack in ("", "dev", "prod")
    ]
    assert not names[0] & names[1] | names[1] & names[2] | names[0] & names[2]


def test_a_preview_says_that_a_binding_is_not_known_yet() -> None:
    def program() -> None:
        bus = MessageBus("shop", topology=TOPOLOGY, cloud="aws", settings=AwsSettings(stack="dev", bindings="ssm"))
        pulumi.export("bindings", bus.bindings)

    done = runner.run(program, lambda type_, name, inputs: {}, look=simulated.look, preview=True)
    assert {type(one["insecureValue"]) for one in parameters(done).values()} == {Unknown}
    assert {type(one) for one in done.outputs["bindings"].values()} == {Unknown}


@pytest.mark.parametrize(
    ("cloud", "given", "words"),
    [
        ("aws", "smm", r"polybus:bindings: found 'smm'; allowed: ssm"),
        ("azure", "ssm", r"polybus:bindings: found 'ssm'; allowed: the resource id of a key vault or of an App"),
        ("gcp", "ssm", r"polybus:bindings: found 'ssm'; allowed: secretmanager"),
    ],
)
def test_where_a_binding_can_not_be_put_is_refused_by_name(cloud: str, given: str, words: str) -> None:
    values = {**runner.configuration(f"{cloud}-dev"), "polybus:bindings": given}
    with pytest.raises((pulumi.RunError, ConfigError), match=words):
        runner.run(runner.main, simulated.create, values=values, look=simulated.look, stack_name=f"{cloud}-dev")
