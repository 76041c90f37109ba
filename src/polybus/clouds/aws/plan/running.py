"""Where services on SNS and SQS run: Kubernetes with KEDA, as on EKS, and ECS.

Sources: [KS] "AWS SQS Queue" and [KA] "AWS (IRSA) Pod Identity Webhook" of KEDA 2.20's documentation; [IR] "IAM roles
for service accounts" and [PI] "Learn how EKS Pod Identity grants pods access to AWS services", Amazon EKS User Guide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from polybus.clouds.aws.plan import ecs, place
from polybus.clouds.aws.plan.bodies import BUCKET
from polybus.clouds.aws.plan.delivery_logs import ACCOUNT
from polybus.clouds.aws.plan.identity import account, partition, region, role_arn, running_as
from polybus.clouds.aws.plan.resources import AwsPlan
from polybus.plan.run.keda import OPERATOR, Keda, platform
from polybus.plan.run.kubernetes import Access, name_of
from polybus.plan.run.model import Document, Running, Scene, Source, Workload, blank
from polybus.plan.values import Ref, resolve

__all__ = ["RUNNING", "find"]

IRSA, POD_IDENTITY = "irsa", "pod-identity"

_PROVIDER = "EKS_OIDC_PROVIDER"
_AUDIENCE = "sts.amazonaws.com"


def find(plan: AwsPlan) -> Callable[[Ref], str]:
    """Return a function that gives an output of a queue or topic: its name is planned, the rest follows from it."""
    made = {resource.name: resource for resource in plan.resources}
    whole, at, owner = partition(plan), region(plan), account(plan)

    def found(ref: Ref) -> str:
        if ref == place.REGION:
            return at
        if ref == ACCOUNT:
            return owner
        resource = made[ref.resource]
        if resource.name == BUCKET.resource:
            name = str(resolve(resource.properties["bucket"], found))
            return name if ref.output == "bucket" else f"arn:{whole}:s3:::{name}"
        name = str(resource.properties["name"])
        service = resource.type.split(":")[1].partition("/")[0]
        outputs = {
            "name": name,
            "arn": f"arn:{whole}:{service}:{at}:{owner}:{name}",
            "url": f"https://{service}.{at}.{place.domain(whole)}/{owner}/{name}",
        }
        return outputs[ref.output]

    return found


def _trigger(scene: Scene, workload: Workload, source: Source) -> Document:
    metadata = {
        "queueURL": source.address,
        "queueLength": str(workload.messages),
        "awsRegion": region(scene.plan),
        # What is handled, or waits for its retry, keeps what handles it from being taken away [KS].
        "scaleOnInFlight": "true",
    }
    return {"type": "aws-sqs-queue", "name": source.name, "metadata": metadata}


def _access(scene: Scene, workload: Workload) -> Access:
    variables = {"AWS_REGION": region(scene.plan)}
    if scene.identity == POD_IDENTITY:  # the cluster knows whose account a role's is
        return Access(variables=variables)
    annotations = {
        "eks.amazonaws.com/role-arn": role_arn(scene.plan, workload),
        "eks.amazonaws.com/sts-regional-endpoints": "true",
    }
    return Access(annotations=annotations, variables=variables)


def _authentication(scene: Scene, workload: Workload) -> Document:
    """Count by the service's own role, which may: KEDA's needs no right to any queue [KA]."""
    return {"provider": "aws", "roleArn": role_arn(scene.plan, workload)}


def _identities(scene: Scene) -> Iterator[Document]:
    """Give each role once, with what its trust policy has to say of all that run as it."""
    for role, workloads in running_as(scene).items():
        scaled = any(workload.sources for workload in workloads)
        statements = _by_pod_identity(scaled) if scene.identity == POD_IDENTITY else _by_irsa(scene, workloads, scaled)
        found: dict[str, Any] = {
            "role": role,
            "services": [workload.service.name for workload in workloads],
            "trustPolicy": {"Version": "2012-10-17", "Statement": list(statements)},
        }
        if scene.identity == POD_IDENTITY:
            found["podIdentityAssociations"] = [_association(scene, workload, role) for workload in workloads]
        yield found


def _by_irsa(scene: Scene, workloads: Iterable[Workload], scaled: bool) -> Iterator[Document]:
    """Let the accounts of the services be the role, and KEDA's operator, which counts for them [IR, KA]."""
    subjects = [f"system:serviceaccount:{scene.namespace}:{name_of(workload)}" for workload in workloads]
    provider = blank(_PROVIDER)
    yield {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:{partition(scene.plan)}:iam::{account(scene.plan)}:oidc-provider/{provider}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {
            "StringEquals": {
                f"{provider}:sub": [*subjects, *([OPERATOR] if scaled else [])],
                f"{provider}:aud": _AUDIENCE,
            }
        },
    }


def _by_pod_identity(scaled: bool) -> Iterator[Document]:
    """Let EKS give the role to pods, and KEDA's own role become it [PI, KA]."""
    yield {
        "Effect": "Allow",
        "Principal": {"Service": "pods.eks.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession"],
    }
    if scaled:
        keda = {"AWS": blank("KEDA_ROLE_ARN")}
        yield {"Effect": "Allow", "Principal": keda, "Action": ["sts:AssumeRole"]}


def _association(scene: Scene, workload: Workload, role: str) -> Mapping[str, str]:
    """Give the request that associates a role with a pod's account (CreatePodIdentityAssociation, EKS API)."""
    return {
        "clusterName": blank("EKS_CLUSTER"),
        "namespace": scene.namespace,
        "serviceAccount": name_of(workload),
        "roleArn": role,
    }


def _notes(scene: Scene) -> Iterator[str]:
    if scene.identity == POD_IDENTITY:
        yield "KEDA counts as each service's role: its own role needs sts:AssumeRole on those in identities.json"


KEDA = Keda(
    trigger=_trigger,
    access=_access,
    authentication=_authentication,
    identities=_identities,
    notes=_notes,
    ways=(IRSA, POD_IDENTITY),
)

RUNNING = Running(platforms={"keda": platform(KEDA), "ecs": ecs.PLATFORM}, find=find)
