"""Services on Kubernetes, scaled by KEDA, on each cloud: held to the schemas of Kubernetes and of KEDA's resources."""

from __future__ import annotations

import dataclasses
import importlib
import json
from typing import Any

import pytest

from polybus.app.ending import DRAIN as KEPT
from polybus.binding import Binding
from polybus.bus.options import ConsumerOptions
from polybus.clouds.aws.plan.resources import AwsSettings
from polybus.clouds.azure.plan.namespace import AzureSettings
from polybus.clouds.gcp.plan.settings import GcpSettings
from polybus.plan.run.asked import DEFAULT, Asked
from polybus.plan.run.ending import DRAIN, stop_seconds
from polybus.plan.run.model import blank_name, label_name

from .running import ROLE, SETTINGS, SHARED, by_kind, topology, written
from .schema import schemas

CLOUDS = ("aws", "azure", "gcp")
KUBERNETES = schemas("kubernetes")
each_cloud = pytest.mark.parametrize("cloud", CLOUDS)


def container(documents: dict[str, Any], kind: str = "Deployment") -> Any:
    [found] = documents[kind]["spec"]["template"]["spec"]["containers"]
    return found


def triggers(documents: dict[str, Any]) -> Any:
    return documents["ScaledObject"]["spec"]["triggers"]


@each_cloud
@pytest.mark.parametrize("jobs", [False, True])
def test_everything_is_as_kubernetes_and_keda_take_it(cloud: str, jobs: bool) -> None:
    files, made, _ = written(cloud, "keda", jobs=jobs, namespace="shop")
    problems = [
        f"{file}: {problem}"
        for file, documents in files.items()
        if file not in made.plain
        for document in documents
        for problem in KUBERNETES.problems(document["kind"], document)
    ]
    assert problems == []
    namespaces = {
        one["metadata"]["namespace"] for name, found in files.items() if name not in made.plain for one in found
    }
    assert namespaces == {"shop"}


def test_the_schemas_refuse_what_they_do_not_have() -> None:
    [account, *_] = written("aws", "keda")[0]["billing"]
    for wrong in ({"kind2": 1}, {"automountServiceAccountToken": "no"}, {"metadata": {"labels": {"a": 1}}}):
        assert KUBERNETES.problems("ServiceAccount", {**account, **wrong})
    assert KUBERNETES.problems("ScaledObject", {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "spec": {}})


@each_cloud
def test_each_source_is_a_trigger_with_what_is_in_flight(cloud: str) -> None:
    files, _, _ = written(cloud, "keda", asked={"media": Asked(messages=50)})
    [letters, thumbnails] = triggers(by_kind(files["media"]))
    assert (letters["name"], thumbnails["name"]) == ("letters", "thumbnails")
    wanted = {
        "aws": [
            {
                "queueURL": f"https://sqs.eu-west-1.amazonaws.com/111122223333/shop-prod-{name}",
                "queueLength": "50",
                "awsRegion": "eu-west-1",
                "scaleOnInFlight": "true",
            }
            for name in ("letters", "thumbnails")
        ],
        "azure": [
            {"topicName": "shop-prod-news", "subscriptionName": "letters", "messageCount": "50"},
            {"queueName": "shop-prod-thumbnails", "messageCount": "50"},
        ],
        "gcp": [
            {
                "subscriptionName": f"projects/shop-prod/subscriptions/shop-prod-{name}",
                "mode": "NumUndeliveredMessages",
                "value": "50",
                "valueIfNull": "0",
            }
            for name in ("letters", "thumbnails")
        ],
    }
    types = {"aws": "aws-sqs-queue", "azure": "azure-servicebus", "gcp": "gcp-pubsub"}
    assert {letters["type"], thumbnails["type"]} == {types[cloud]}
    found = [letters["metadata"], thumbnails["metadata"]]
    if cloud == "azure":
        namespaces = {metadata.pop("namespace") for metadata in found}
        assert len(namespaces) == 1
        assert "." not in namespaces.pop()
    assert found == wanted[cloud]


def test_an_ordered_source_is_counted_by_its_own_name() -> None:
    [trigger] = triggers(by_kind(written("aws", "keda")[0]["billing"]))
    assert trigger["metadata"]["queueURL"].endswith("/shop-prod-billing.fifo")


@each_cloud
def test_what_only_publishes_is_not_scaled_and_what_only_operates_does_not_run(cloud: str) -> None:
    files, _, _ = written(cloud, "keda", asked={"checkout": Asked(min=3)})
    assert set(by_kind(files["checkout"])) == {"ServiceAccount", "ConfigMap", "Deployment"}
    assert by_kind(files["checkout"])["Deployment"]["spec"]["replicas"] == 3
    assert "replicas" not in by_kind(files["billing"])["Deployment"]["spec"]  # it would be set back at every apply
    assert "keeper" not in files


def test_what_is_elsewhere_or_for_others_does_not_run() -> None:
    more = (
        '[queues.away]\nclouds = ["gcp"]\n[services.distant]\nconsumes = ["away"]\nclouds = ["gcp"]\n'
        '[queues.theirs]\nconsumers = "foreign"\n[services.lambda]\nconsumes = ["theirs"]\n'
    )
    files, _, _ = written("aws", "keda", bus=topology(more))
    assert set(files) == {"checkout", "billing", "media", "identities"}


@each_cloud
def test_what_has_one_size_is_not_scaled(cloud: str) -> None:
    found = by_kind(written(cloud, "keda", asked={"billing": Asked(min=2, max=2)})[0]["billing"])
    assert "ScaledObject" not in found
    assert found["Deployment"]["spec"]["replicas"] == 2


@each_cloud
def test_two_services_of_one_identity_are_two_accounts_of_it(cloud: str) -> None:
    files, _, _ = written(cloud, "keda", namespace="shop")
    names = {service: by_kind(files[service])["ServiceAccount"]["metadata"]["name"] for service in ("billing", "media")}
    assert names == {"billing": "shop-prod-billing", "media": "shop-prod-media"}
    identities = json.dumps(files["identities"][0])
    for name in names.values():
        assert f"shop{'/' if cloud == 'gcp' else ':'}{name}" in identities
    if SHARED[cloud] is not None:
        assert [one["services"] for one in files["identities"][0]["identities"] if "services" in one] == [
            ["checkout"],
            ["billing", "media"],
        ]


def test_on_eks_accounts_name_their_role_and_keda_counts_as_it() -> None:
    files, _, filler = written("aws", "keda")
    found = by_kind(files["billing"])
    assert found["ServiceAccount"]["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == ROLE
    assert found["TriggerAuthentication"]["spec"] == {"podIdentity": {"provider": "aws", "roleArn": ROLE}}
    [statement] = files["identities"][0]["identities"][1]["trustPolicy"]["Statement"]
    assert statement["Condition"]["StringEquals"]["${EKS_OIDC_PROVIDER}:sub"] == [
        "system:serviceaccount:default:shop-prod-billing",
        "system:serviceaccount:default:shop-prod-media",
        "system:serviceaccount:keda:keda-operator",
    ]
    assert filler.open == ("EKS_OIDC_PROVIDER",)


def test_a_role_of_what_is_not_scaled_does_not_trust_keda() -> None:
    checkout = written("aws", "keda")[0]["identities"][0]["identities"][0]
    assert checkout["role"] == "arn:aws:iam::111122223333:role/shop-checkout"
    assert "keda-operator" not in json.dumps(checkout)


def test_with_pod_identity_the_cluster_knows_the_roles() -> None:
    botocore = importlib.import_module("botocore.session")
    files, made, filler = written("aws", "keda", identity="pod-identity")
    assert "annotations" not in by_kind(files["billing"])["ServiceAccount"]["metadata"]
    shared = files["identities"][0]["identities"][1]
    principals = [statement["Principal"] for statement in shared["trustPolicy"]["Statement"]]
    assert principals == [{"Service": "pods.eks.amazonaws.com"}, {"AWS": "${KEDA_ROLE_ARN}"}]
    request = botocore.Session().get_service_model("eks").operation_model("CreatePodIdentityAssociation").input_shape
    from botocore.validate import ParamValidator

    for association in shared["podIdentityAssociations"]:
        assert not ParamValidator().validate(association, request).has_errors()
    assert set(filler.open) == {"EKS_CLUSTER", "KEDA_ROLE_ARN"}
    assert any("sts:AssumeRole" in note for note in made.notes)


def test_on_aks_pods_are_labelled_and_credentials_federated() -> None:
    files, _, _ = written("azure", "keda", given={"BILLING_CLIENT_ID": "id-1", "AKS_OIDC_ISSUER": "https://issuer/"})
    found = by_kind(files["billing"])
    assert found["ServiceAccount"]["metadata"]["annotations"] == {"azure.workload.identity/client-id": "id-1"}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert labels["azure.workload.identity/use"] == "true"
    credential = files["identities"][0]["identities"][1]["federatedIdentityCredential"]
    assert credential["properties"] == {
        "issuer": "https://issuer/",
        "subject": "system:serviceaccount:default:shop-prod-billing",
        "audiences": ["api://AzureADTokenExchange"],
    }
    keda = files["identities"][0]["identities"][-1]
    assert keda["roleAssignment"]["role"] == "Azure Service Bus Data Owner"
    assert keda["roleAssignment"]["scope"].startswith("/subscriptions/00000000-0000-0000-0000-000000000001/")


@pytest.mark.parametrize(
    ("environment", "cloud", "audience"),
    [("usgovernment", "AzureUSGovernmentCloud", "USGov"), ("china", "AzureChinaCloud", "China")],
)
def test_sovereign_clouds_are_named(environment: str, cloud: str, audience: str) -> None:
    settings = dataclasses.replace(SETTINGS["azure"], environment=environment)
    files, _, _ = written("azure", "keda", settings=settings)
    assert triggers(by_kind(files["billing"]))[0]["metadata"]["cloud"] == cloud
    assert audience in json.dumps(files["identities"][0])


def test_on_gke_accounts_name_their_service_account() -> None:
    files, made, filler = written("gcp", "keda")
    annotations = by_kind(files["media"])["ServiceAccount"]["metadata"]["annotations"]
    assert annotations == {"iam.gke.io/gcp-service-account": SHARED["gcp"]}
    shared = files["identities"][0]["identities"][1]
    assert shared["members"] == [
        "serviceAccount:${GKE_PROJECT}.svc.id.goog[default/shop-prod-billing]",
        "serviceAccount:${GKE_PROJECT}.svc.id.goog[default/shop-prod-media]",
    ]
    assert filler.open == ("GKE_PROJECT", "KEDA_SERVICE_ACCOUNT")
    assert any("minutes late" in note for note in made.notes)


def test_what_is_no_service_account_runs_nothing() -> None:
    more = '[services.batch]\nconsumes = ["thumbnails"]\n'
    members = {"batch": "group:people@example.com"}
    settings = dataclasses.replace(SETTINGS["gcp"], members=members)
    files, made, _ = written("gcp", "keda", settings=settings, bus=topology(more), services=("batch",))
    annotations = by_kind(files["batch"])["ServiceAccount"]["metadata"]["annotations"]
    assert annotations == {"iam.gke.io/gcp-service-account": "${BATCH_SERVICE_ACCOUNT}"}
    assert any("which no process runs as" in note for note in made.notes)


@each_cloud
def test_a_pod_has_the_time_that_its_drain_takes(cloud: str) -> None:
    files, _, _ = written(cloud, "keda", asked={"billing": Asked(grace=90.0)})
    pod = by_kind(files["billing"])["Deployment"]["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 105
    command = pod["containers"][0]["command"]
    assert command[:5] == ["polybus", "run", "shop.billing:app", "--health", "8080"]
    assert command[5:7] == ["--grace", "1m30s"]


def test_the_time_to_end_is_the_one_that_the_drain_keeps() -> None:
    assert DRAIN == KEPT
    assert stop_seconds(30.0) == 45  # as docs/health.md says
    assert DEFAULT.grace == ConsumerOptions().grace
    assert DEFAULT.messages == 2 * 2 * ConsumerOptions().concurrency


@each_cloud
def test_the_probes_are_those_of_polybus_run(cloud: str) -> None:
    probed = container(by_kind(written(cloud, "keda")[0]["billing"]))
    paths = {name: probed[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert paths == {"startupProbe": "/live", "livenessProbe": "/live", "readinessProbe": "/ready"}
    assert probed["ports"] == [{"name": "health", "containerPort": 8080}]


@each_cloud
def test_pods_are_held_as_the_restricted_standard_wants_it(cloud: str) -> None:
    documents = by_kind(written(cloud, "keda")[0]["billing"])
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(documents)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@each_cloud
def test_a_pod_reads_its_own_binding_and_starts_anew_when_it_changes(cloud: str) -> None:
    def read(bus: Any) -> tuple[Binding, Any]:
        documents = by_kind(written(cloud, "keda", bus=bus)[0]["billing"])
        text = documents["ConfigMap"]["data"]["binding.json"]
        return Binding.from_json(text), documents["Deployment"]["spec"]["template"]["metadata"]["annotations"]

    binding, annotations = read(topology())
    assert set(binding.subscriptions) == {"billing"}
    assert binding.services.keys() == {"billing"}
    _, others = read(topology("[queues.more]\n"))
    assert annotations != others


@pytest.mark.parametrize(
    ("cloud", "settings", "reference"),
    [
        ("aws", AwsSettings(stack="prod", bindings="ssm"), "ssm:/polybus/shop/prod/billing"),
        (
            "gcp",
            GcpSettings(stack="prod", project="p", project_number="1", bindings="secretmanager"),
            "secretmanager:projects/p/secrets/shop-prod-billing",
        ),
    ],
)
def test_a_binding_that_the_stack_puts_somewhere_is_read_there(cloud: str, settings: Any, reference: str) -> None:
    documents = by_kind(written(cloud, "keda", settings=settings)[0]["billing"])
    assert "ConfigMap" not in documents
    variables = {one["name"]: one["value"] for one in container(documents)["env"]}
    assert variables["POLYBUS_BINDING"] == reference
    assert KUBERNETES.problems("Deployment", documents["Deployment"]) == []


def test_what_the_stack_does_not_say_is_left_open_by_name() -> None:
    files, _, filler = written("aws", "keda", settings=AwsSettings(), services=("billing",))
    assert set(filler.open) == {"AWS_REGION", "AWS_ACCOUNT_ID", "BILLING_ROLE_ARN", "EKS_OIDC_PROVIDER"}
    [trigger] = triggers(by_kind(files["billing"]))
    url = "https://sqs.${AWS_REGION}.amazonaws.com/${AWS_ACCOUNT_ID}/shop-billing.fifo"
    assert trigger["metadata"]["queueURL"] == url
    binding = Binding.from_json(by_kind(files["billing"])["ConfigMap"]["data"]["binding.json"])
    assert binding.subscriptions["billing"].address == url


def test_the_account_of_what_is_adopted_is_the_stack_s() -> None:
    bus = topology('[queues.old]\nexisting = "arn:aws:sqs:eu-west-1:444455556666:old"\n')
    _, _, filler = written("aws", "keda", settings=AwsSettings(region="eu-west-1"), bus=bus, services=("billing",))
    assert "AWS_ACCOUNT_ID" not in filler.open


def test_other_settings_are_read_too() -> None:
    settings = AzureSettings(namespace="shop-namespace", resource_group="shop-group")
    files, _, filler = written("azure", "keda", settings=settings)
    keda = files["identities"][0]["identities"][-1]
    assert keda["roleAssignment"]["scope"].endswith(
        "/resourceGroups/shop-group/providers/Microsoft.ServiceBus/namespaces/shop-namespace"
    )
    assert "AZURE_SUBSCRIPTION_ID" in filler.open


@each_cloud
def test_jobs_end_by_themselves_and_what_only_publishes_stays(cloud: str) -> None:
    files, _, _ = written(cloud, "keda", jobs=True, asked={"media": Asked(min=0, max=20)})
    media = by_kind(files["media"])
    assert "Deployment" not in media
    spec = media["ScaledJob"]["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"], len(spec["triggers"])) == (0, 20, 2)
    assert spec["scalingStrategy"] == {"strategy": "default", "multipleScalersCalculation": "max"}
    pod = spec["jobTargetRef"]["template"]["spec"]
    assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"]) == ("Never", 45)
    assert "Deployment" in by_kind(files["checkout"])


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("shop", "prod", "billing"), "shop-prod-billing"),
        (("shop", "", "billing"), "shop-billing"),
        (("shop", "prod", "Bill_ing"), "shop-prod-bill-ing-48607039"),
    ],
)
def test_names_are_dns_labels_and_say_whose_they_are(parts: tuple[str, ...], name: str) -> None:
    assert label_name(*parts, longest=63) == name


def test_names_that_would_be_one_are_two() -> None:
    several = [("a-b", "c"), ("a", "b-c"), ("a_b", "c"), ("A", "b-c"), ("a", "b_c")]
    names = {label_name(*parts, longest=63) for parts in several}
    assert len(names) == len(several)
    assert all(len(label_name("a" * 60, "b" * 60, longest=longest)) <= longest for longest in (20, 32, 63))
    assert blank_name("image-maker", "role arn") == "IMAGE_MAKER_ROLE_ARN"
