"""Services on Cloud Run: held to the description of its API, and the autoscaler's configuration to KEDA's."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from polybus.binding import Binding
from polybus.errors import ConfigError
from polybus.plan.run.asked import Asked

from .running import SETTINGS, SHARED, topology, written
from .schema import schemas

RUN, KEDA = schemas("cloudrun"), schemas("kubernetes")
PUSHED = """
[subscriptions.parcels]
topic = "news"
lease = "90s"
push = { function = "shipping" }
[services.shipping]
publishes = ["news"]
"""
URL = "https://shipping-111122223333.europe-west1.run.app"


def files(**more: Any) -> dict[str, Any]:
    found, _, _ = written("gcp", "cloudrun", **{"given": {"CLOUD_RUN_REGION": "europe-west1"}, **more})
    return {name: documents[0] for name, documents in found.items()}


def pushed(**more: Any) -> dict[str, Any]:
    settings = dataclasses.replace(SETTINGS["gcp"], functions={"shipping": URL})
    return files(bus=topology(PUSHED), settings=settings, **more)


def container(document: Any) -> Any:
    [found] = document["spec"]["template"]["spec"]["containers"]
    return found


def test_every_document_is_as_cloud_run_takes_it() -> None:
    found = pushed()
    documents = {name: document for name, document in found.items() if name not in ("crema", "identities")}
    assert documents.keys() == {
        "checkout.worker-pool",
        "billing.worker-pool",
        "media.worker-pool",
        "shipping.service",
    }
    problems = {name: RUN.problems(document["kind"], document) for name, document in documents.items()}
    assert not any(problems.values()), problems


def test_the_schema_refuses_what_it_does_not_have() -> None:
    pool = files()["billing.worker-pool"]
    assert RUN.problems("WorkerPool", {**pool, "scaling": {}})
    assert RUN.problems("WorkerPool", {**pool, "spec": {"template": {"spec": {"containers": [{"cpu": 1}]}}}})


def test_a_worker_pool_has_the_instances_that_it_begins_with_and_who_it_is() -> None:
    pool = files(asked={"media": Asked(min=3)})["media.worker-pool"]
    assert pool["metadata"]["annotations"] == {
        "run.googleapis.com/scalingMode": "manual",
        "run.googleapis.com/manualInstanceCount": "3",
    }
    assert pool["metadata"]["labels"] == {"cloud.googleapis.com/location": "europe-west1"}
    assert pool["spec"]["template"]["spec"]["serviceAccountName"] == SHARED["gcp"]


def test_what_scales_worker_pools_counts_each_of_their_sources() -> None:
    found = files(asked={"media": Asked(min=0, max=20, messages=50)})
    crema = found["crema"]
    assert (crema["apiVersion"], crema["kind"]) == ("crema/v1", "CremaConfig")
    objects = {one["spec"]["scaleTargetRef"]["name"]: one["spec"] for one in crema["spec"]["scaledObjects"]}
    where = "projects/shop-prod/locations/europe-west1/workerpools"
    assert objects.keys() == {f"{where}/shop-prod-billing", f"{where}/shop-prod-media"}
    media = objects[f"{where}/shop-prod-media"]
    assert KEDA.of("ScaledObjectSpec", media) == []
    assert (media["minReplicaCount"], media["maxReplicaCount"]) == (0, 20)
    assert [trigger["metadata"]["subscriptionName"] for trigger in media["triggers"]] == [
        "projects/shop-prod/subscriptions/shop-prod-letters",
        "projects/shop-prod/subscriptions/shop-prod-thumbnails",
    ]
    names = {one["metadata"]["name"] for one in crema["spec"]["triggerAuthentications"]}
    assert {trigger["authenticationRef"]["name"] for trigger in media["triggers"]} == names


def test_the_autoscaler_is_granted_what_it_scales_and_no_more() -> None:
    granted = files()["identities"]["identities"]
    pools = {one["workerPool"] for one in granted if "workerPool" in one}
    assert pools == {"shop-prod-billing", "shop-prod-media"}
    assert [one["serviceAccount"] for one in granted if "serviceAccount" in one] == [SHARED["gcp"]]
    assert all(one["members"] == ["serviceAccount:${CREMA_SERVICE_ACCOUNT}"] for one in granted)


def test_a_drain_has_ten_seconds_and_handlers_half_of_them() -> None:
    command = container(files()["billing.worker-pool"])["command"]
    assert command[command.index("--grace") + 1] == "5s"
    files(asked={"billing": Asked(grace=8.0)})
    with pytest.raises(ConfigError, match=r"billing: grace: found 9s; Cloud Run kills 10 s .* --grace 8s at most"):
        files(asked={"billing": Asked(grace=9.0)})


def test_the_probes_are_those_of_polybus_run() -> None:
    probed = container(files()["billing.worker-pool"])
    assert probed["startupProbe"]["httpGet"] == {"path": "/ready", "port": 8080}
    assert probed["livenessProbe"]["httpGet"] == {"path": "/live", "port": 8080}
    startup = probed["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] <= 240


def test_what_is_pushed_to_is_a_service_by_the_name_that_its_address_says() -> None:
    found = pushed(asked={"shipping": Asked(min=0, max=5)})
    service = found["shipping.service"]
    assert service["metadata"]["name"] == "shipping"
    assert service["metadata"]["labels"] == {"cloud.googleapis.com/location": "europe-west1"}
    template = service["spec"]["template"]
    assert template["spec"]["timeoutSeconds"] == 90
    assert template["metadata"]["annotations"] == {
        "autoscaling.knative.dev/minScale": "0",
        "autoscaling.knative.dev/maxScale": "5",
    }
    command = container(service)["command"]
    assert command[:2] == ["uvicorn", "${SHIPPING_ASGI}"]
    assert command[-2:] == ["--timeout-graceful-shutdown", "5"]
    assert "shipping" not in json.dumps(found["crema"])


def test_what_is_pushed_to_and_pulls_is_both() -> None:
    bus = topology(
        PUSHED + '[queues.more]\n[services.both]\nconsumes = ["more"]\n[subscriptions.extra]\n'
        'topic = "news"\npush = { function = "both" }\n'
    )
    both = "https://example.com/elsewhere"
    settings = dataclasses.replace(SETTINGS["gcp"], functions={"shipping": URL, "both": both})
    found, made, _ = written("gcp", "cloudrun", bus=bus, settings=settings, services=("both",))
    assert {"both.service", "both.worker-pool"} < found.keys()
    assert any("doesn't say which Cloud Run service its pushes go" in note for note in made.notes)


@pytest.mark.parametrize(
    ("cpu", "memory", "size"),
    [
        (0.25, 256, ("1", "512Mi")),
        (1.0, 4_097, ("2", "4097Mi")),
        (3.0, 512, ("4", "2048Mi")),
        (8.0, 32_768, ("8", "32768Mi")),
    ],
)
def test_an_instance_is_the_smallest_that_has_what_is_asked_for(cpu: float, memory: int, size: tuple[str, str]) -> None:
    limits = container(files(asked={"billing": Asked(cpu=cpu, memory=memory)})["billing.worker-pool"])["resources"]
    assert limits == {"limits": {"cpu": size[0], "memory": size[1]}}


def test_more_than_there_is_is_refused() -> None:
    with pytest.raises(ConfigError, match="Cloud Run has up to 8 cores and 32768MiB"):
        files(asked={"billing": Asked(cpu=9.0)})


def test_the_binding_is_a_variable_or_where_the_stack_puts_it() -> None:
    def told(settings: Any) -> str:
        found = container(files(settings=settings)["billing.worker-pool"])
        value: str = {one["name"]: one["value"] for one in found["env"]}["POLYBUS_BINDING"]
        return value

    assert set(Binding.from_json(told(SETTINGS["gcp"])).subscriptions) == {"billing"}
    kept = dataclasses.replace(SETTINGS["gcp"], bindings="secretmanager")
    assert told(kept) == "secretmanager:projects/shop-prod/secrets/shop-prod-billing"


def test_a_binding_that_no_variable_holds_is_refused() -> None:
    names = [f"queue{number}" for number in range(200)]
    more = "".join(f"[queues.{name}]\n" for name in names)
    more += f"[services.hub]\npublishes = {json.dumps(names)}\n"
    with pytest.raises(ConfigError, match=r"hub: a binding of .* bytes; .* instead: bindings = secretmanager"):
        files(bus=topology(more), services=("hub",))


def test_what_cloud_run_lacks_is_said() -> None:
    _, made, filler = written("gcp", "cloudrun")
    assert set(filler.open) == {"CLOUD_RUN_REGION", "CREMA_SERVICE_ACCOUNT"}
    assert any("worker pools don't scale by themselves" in note for note in made.notes)
    assert any("kills 10 s after the signal" in note for note in made.notes)
