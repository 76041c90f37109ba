"""Services on Container Apps: held to the names and types of Azure Resource Manager."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from polybus.binding import Binding
from polybus.errors import ConfigError
from polybus.plan.run.asked import Asked

from .running import SETTINGS, written
from .schema import schemas

ARM = schemas("containerapps")
GIVEN = {"SCALER_IDENTITY_ID": "/id/scaler", "BILLING_IDENTITY_ID": "/id/billing", "BILLING_CLIENT_ID": "client"}


def files(**more: Any) -> dict[str, Any]:
    found, _, _ = written("azure", "containerapps", **{"given": GIVEN, **more})
    return {name: documents[0] for name, documents in found.items()}


def template(app: Any) -> Any:
    return app["properties"]["template"]


def container(app: Any) -> Any:
    [found] = template(app)["containers"]
    return found


def test_every_app_is_as_azure_takes_it() -> None:
    found = files()
    apps = {name: document for name, document in found.items() if name != "identities"}
    assert apps.keys() == {"checkout", "billing", "media"}
    problems = {name: ARM.problems("ContainerApp", app) for name, app in apps.items()}
    assert not any(problems.values()), problems


def test_the_schema_refuses_what_it_does_not_have() -> None:
    app = files()["billing"]
    assert ARM.problems("ContainerApp", {**app, "locations": []})
    scale = {**template(app)["scale"], "minReplicas": "1"}
    wrong = {**app, "properties": {**app["properties"], "template": {**template(app), "scale": scale}}}
    assert ARM.problems("ContainerApp", wrong)


def test_each_source_is_a_rule_that_the_scaler_s_identity_counts() -> None:
    scale = template(files(asked={"media": Asked(min=0, max=20, messages=50)})["media"])["scale"]
    assert (scale["minReplicas"], scale["maxReplicas"]) == (0, 20)
    [letters, thumbnails] = scale["rules"]
    assert (letters["name"], thumbnails["name"]) == ("letters", "thumbnails")
    for rule, entity in (
        (letters, {"topicName": "shop-prod-news", "subscriptionName": "letters"}),
        (thumbnails, {"queueName": "shop-prod-thumbnails"}),
    ):
        namespace = rule["custom"]["metadata"].pop("namespace")
        assert namespace.startswith("shop-prod-")
        assert rule["custom"] == {
            "type": "azure-servicebus",
            "metadata": {**entity, "messageCount": "50"},
            "identity": "/id/scaler",
        }


def test_what_scales_may_count_and_the_containers_may_not_be_it() -> None:
    found = files()
    billing = found["billing"]
    assert billing["identity"] == {
        "type": "UserAssigned",
        "userAssignedIdentities": {"/id/billing": {}, "/id/scaler": {}},
    }
    assert billing["properties"]["configuration"]["identitySettings"] == [
        {"identity": "/id/billing", "lifecycle": "Main"},
        {"identity": "/id/scaler", "lifecycle": "None"},
    ]
    [scaler] = found["identities"]["identities"]
    assert scaler["roleAssignment"]["role"] == "Azure Service Bus Data Owner"
    variables = {one["name"]: one["value"] for one in container(billing)["env"]}
    assert variables["AZURE_CLIENT_ID"] == "client"
    assert set(Binding.from_json(variables["POLYBUS_BINDING"]).subscriptions) == {"billing"}


def test_what_only_publishes_is_not_scaled_and_has_no_scaler() -> None:
    found = files(asked={"checkout": Asked(min=3)}, services=("checkout",))
    checkout = found["checkout"]
    assert template(checkout)["scale"] == {"minReplicas": 3, "maxReplicas": 3}
    assert len(checkout["identity"]["userAssignedIdentities"]) == 1
    assert "identities" not in found


def test_an_app_has_the_time_that_its_drain_takes_and_no_more_than_there_is() -> None:
    found = files(asked={"billing": Asked(grace=585.0)})
    assert template(found["billing"])["terminationGracePeriodSeconds"] == 600
    with pytest.raises(ConfigError, match=r"billing: grace: found 9m46s; Container Apps kills 600 s"):
        files(asked={"billing": Asked(grace=586.0)})


def test_the_probes_are_those_of_polybus_run_within_what_azure_takes() -> None:
    probes = {one["type"]: one for one in container(files()["billing"])["probes"]}
    paths = {type_: one["httpGet"]["path"] for type_, one in probes.items()}
    assert paths == {"Startup": "/live", "Liveness": "/live", "Readiness": "/ready"}
    for probe in probes.values():
        assert 1 <= probe["failureThreshold"] <= 10
        assert 1 <= probe["periodSeconds"] <= 240
        assert 1 <= probe["timeoutSeconds"] <= 240


@pytest.mark.parametrize(
    ("cpu", "memory", "size"),
    [
        (0.25, 512, (0.25, "0.5Gi")),
        (0.25, 1_500, (0.75, "1.5Gi")),
        (0.3, 512, (0.5, "1Gi")),
        (4.0, 8_192, (4.0, "8Gi")),
    ],
)
def test_an_app_has_the_smallest_size_with_what_is_asked_for(cpu: float, memory: int, size: tuple[float, str]) -> None:
    resources = container(files(asked={"billing": Asked(cpu=cpu, memory=memory)})["billing"])["resources"]
    assert (resources["cpu"], resources["memory"]) == size


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (Asked(cpu=4.5), "up to 4 cores and 8GiB"),
        (Asked(memory=9_000), "up to 4 cores and 8GiB"),
        (Asked(max=1_001), "found max 1001; allowed: up to 1,000"),
    ],
)
def test_more_than_there_is_is_refused(asked: Asked, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        files(asked={"billing": asked})


def test_another_cloud_of_azure_s_is_named_to_the_service_and_to_the_rule() -> None:
    billing = files(settings=dataclasses.replace(SETTINGS["azure"], environment="usgovernment"))["billing"]
    [rule] = template(billing)["scale"]["rules"]
    assert rule["custom"]["metadata"]["cloud"] == "AzureUSGovernmentCloud"
    variables = {one["name"]: one["value"] for one in container(billing)["env"]}
    assert variables["AZURE_AUTHORITY_HOST"] == "login.microsoftonline.us"


def test_what_the_stack_does_not_say_is_left_open_by_name() -> None:
    _, made, filler = written("azure", "containerapps", services=("billing",))
    assert set(filler.open) == {*GIVEN, "CONTAINERAPPS_ENVIRONMENT_ID"}
    assert any("Data Owner" in note for note in made.notes)
