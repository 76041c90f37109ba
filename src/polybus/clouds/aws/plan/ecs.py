"""Services on ECS with Fargate: task definition, service, and a target of what waits for each task.

Every file is the request of one call, as `aws ... --cli-input-json` takes it. Sources: [E] the ECS and [AS] the
Application Auto Scaling service model in botocore 1.44; [BT] "Create a target tracking scaling policy for Application
Auto Scaling using metric math", whose example is an SQS queue's backlog per task; [CI] "Amazon ECS Container Insights
metrics"; [TR] "Amazon ECS task IAM role".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from polybus.clouds.aws.plan.identity import account, partition, region, role_arn, running_as
from polybus.clouds.aws.plan.tags import TAGS
from polybus.errors import ConfigError
from polybus.plan.run.ending import hold, stop_seconds
from polybus.plan.run.model import HEALTH_PORT, Document, Platform, Scene, Source, Workload, Written, blank
from polybus.plan.tags import tags_of

__all__ = ["PLATFORM"]

_KILL_AFTER = 120
"""Seconds of stopTimeout at most on Fargate [E]."""

_NAME = 63
"""Characters of a name; ECS takes 255 letters, digits, hyphens and underscores [E], and this is what pods have."""

_TMP = 64
"""MiB of /tmp, which is memory of the task's: polybus writes nothing there, libraries may."""

# MiB that Fargate takes with so many CPU units: from, to, and in which steps [E].
_SIZES: Final[Mapping[int, Sequence[int]]] = {
    256: (512, 1_024, 2_048),
    512: range(1_024, 4_097, 1_024),
    1_024: range(2_048, 8_193, 1_024),
    2_048: range(4_096, 16_385, 1_024),
    4_096: range(8_192, 30_721, 1_024),
    8_192: range(16_384, 61_441, 4_096),
    16_384: range(32_768, 122_881, 8_192),
}

# Seconds between two of its steps: tasks that were started should have been counted by the metric of the next minute,
# and a minute without messages takes nothing away. Application Auto Scaling's own defaults for ECS are 300 [AS].
_OUT, _IN = 60, 300


def _write(scene: Scene) -> Written:
    written = Written()
    for workload in scene.workloads:
        hold(f"{workload.service.name}: grace", workload.grace, _KILL_AFTER, "ECS with Fargate")
        _hold_least(workload)
        name = workload.service.name
        written.add_plain(f"{name}.task-definition", _definition(scene, workload))
        written.add_plain(f"{name}.service", _service(scene, workload))
        if workload.scales:
            written.add_plain(f"{name}.scalable-target", _target(workload))
            for source in workload.sources:
                written.add_plain(f"{name}.scaling-{source.name}", _policy(workload, source))
    written.add_plain("identities", {"identities": list(_identities(scene))})
    written.notes += _notes(scene)
    return written


def _hold_least(workload: Workload) -> None:
    if workload.scales and workload.least < 1:
        raise ConfigError(
            f"{workload.service.name}: found min 0; allowed on ECS: from 1, since what waits for each task says "
            "nothing while there is none; instead: --min 1, or `polybus export keda`"
        )


def _definition(scene: Scene, workload: Workload) -> Document:
    cpu, memory = _size(workload)
    tags = {"tags": _tags(scene)}
    return {
        "family": workload.name(_NAME),
        "taskRoleArn": role_arn(scene.plan, workload),
        "executionRoleArn": blank("ECS_EXECUTION_ROLE_ARN"),
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": str(cpu),
        "memory": str(memory),
        "containerDefinitions": [_container(scene, workload)],
        **tags,
    }


def _container(scene: Scene, workload: Workload) -> Document:
    # A policy of IAM's has room for a hundred entries, whose binding is some 25 KB of the definition's 64 KiB.
    binding = workload.reference or workload.binding.to_compact_json()
    variables = {"POLYBUS_BINDING": binding, "AWS_REGION": region(scene.plan)}
    return {
        "name": "service",
        "image": workload.image,
        "essential": True,
        "command": list(workload.command),
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
        "stopTimeout": stop_seconds(workload.grace),
        "healthCheck": _health_check(),
        "user": "65532:65532",
        "readonlyRootFilesystem": True,
        "linuxParameters": {
            "capabilities": {"drop": ["ALL"]},
            "tmpfs": [{"containerPath": "/tmp", "size": _TMP}],  # noqa: S108 - of the container's own
        },
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": blank("ECS_LOG_GROUP"),
                "awslogs-region": region(scene.plan),
                "awslogs-stream-prefix": workload.service.name,
            },
        },
    }


def _health_check() -> Document:
    """Ask /live from inside, where there is Python and maybe no curl; a task that doesn't answer is replaced.

    Within ECS's bounds: every 5 to 300 s, up to 60 s for an answer, up to 10 tries, up to 300 s to start [E].
    """
    asks = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{HEALTH_PORT}/live', timeout=4)"
    return {
        "command": ["CMD", "python", "-c", asks],
        "interval": 10,
        "timeout": 5,
        "retries": 3,
        "startPeriod": 120,
    }


def _size(workload: Workload) -> tuple[int, int]:
    """Return the CPU units and MiB of the smallest task that has what is asked for."""
    units = math.ceil(workload.cpu * 1_024)
    fitting = (
        (cpu, memory) for cpu, sizes in _SIZES.items() for memory in sizes if cpu >= units and memory >= workload.memory
    )
    found = next(fitting, None)
    if found is None:
        most = max(_SIZES)
        raise ConfigError(
            f"{workload.service.name}: found cpu {workload.cpu:g} and memory {workload.memory}MiB; Fargate has up to "
            f"{most // 1_024} cores and {max(_SIZES[most])}MiB"
        )
    return found


def _service(scene: Scene, workload: Workload) -> Document:
    network = {
        "subnets": [blank("ECS_SUBNETS")],
        "securityGroups": [blank("ECS_SECURITY_GROUPS")],
        "assignPublicIp": "DISABLED",
    }
    return {
        "cluster": blank("ECS_CLUSTER"),
        "serviceName": workload.name(_NAME),
        "taskDefinition": workload.name(_NAME),  # the newest of the family
        "desiredCount": workload.least,
        "launchType": "FARGATE",
        "networkConfiguration": {"awsvpcConfiguration": network},
        "deploymentConfiguration": {
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        },
        "propagateTags": "SERVICE",
        "tags": _tags(scene),
    }


def _scaled(workload: Workload) -> Document:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/{blank('ECS_CLUSTER')}/{workload.name(_NAME)}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }


def _target(workload: Workload) -> Document:
    return {**_scaled(workload), "MinCapacity": workload.least, "MaxCapacity": workload.most}


def _policy(workload: Workload, source: Source) -> Document:
    """Hold what waits and what is in flight for each task to a target.

    Of several policies the one that wants most tasks decides, and tasks are taken away when all agree [AS]. The
    statistics are those of the documented example [BT]; SQS writes one value a minute.
    """
    return {
        **_scaled(workload),
        "PolicyName": source.name,
        "PolicyType": "TargetTrackingScaling",
        "TargetTrackingScalingPolicyConfiguration": {
            "TargetValue": float(workload.messages),
            "CustomizedMetricSpecification": {"Metrics": list(_metrics(workload, source))},
            "ScaleOutCooldown": _OUT,
            "ScaleInCooldown": _IN,
        },
    }


def _metrics(workload: Workload, source: Source) -> Iterator[Document]:
    queue = [{"Name": "QueueName", "Value": source.address.rpartition("/")[2]}]
    tasks = [
        {"Name": "ClusterName", "Value": blank("ECS_CLUSTER")},
        {"Name": "ServiceName", "Value": workload.name(_NAME)},
    ]
    yield _metric("waiting", "AWS/SQS", "ApproximateNumberOfMessagesVisible", queue, "Sum")
    yield _metric("in_flight", "AWS/SQS", "ApproximateNumberOfMessagesNotVisible", queue, "Sum")
    yield _metric("tasks", "ECS/ContainerInsights", "RunningTaskCount", tasks, "Average")
    yield {
        "Id": "for_each",
        "Label": "Messages for each task",
        "Expression": "(waiting + in_flight) / tasks",
        "ReturnData": True,
    }


def _metric(name: str, namespace: str, metric: str, dimensions: list[dict[str, str]], statistic: str) -> Document:
    told = {"Namespace": namespace, "MetricName": metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": told, "Stat": statistic}, "ReturnData": False}


def _tags(scene: Scene) -> list[dict[str, str]]:
    plan = scene.plan
    found = tags_of(plan.topology, plan.settings.stack, plan.settings.tags, TAGS)
    return [{"key": key, "value": value} for key, value in found.items()]


def _identities(scene: Scene) -> Iterator[Document]:
    """Give each role once, with what its trust policy has to say for tasks of this account [TR]."""
    plan = scene.plan
    source = f"arn:{partition(plan)}:ecs:{region(plan)}:{account(plan)}:*"
    conditions = {"StringEquals": {"aws:SourceAccount": account(plan)}, "ArnLike": {"aws:SourceArn": source}}
    for role, workloads in running_as(scene).items():
        statement: dict[str, Any] = {
            "Effect": "Allow",
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": conditions,
        }
        yield {
            "role": role,
            "services": [workload.service.name for workload in workloads],
            "trustPolicy": {"Version": "2012-10-17", "Statement": [statement]},
        }


def _notes(scene: Scene) -> Iterator[str]:
    if any(workload.scales for workload in scene.workloads):
        yield (
            "tasks are counted where the cluster has Container Insights; three minutes above the target start more, "
            "and fifteen below it take some away"
        )
    yield "ECS asks /live alone: a deployment that finds no way to the bus counts as done once its tasks live"


PLATFORM = Platform(write=_write)
