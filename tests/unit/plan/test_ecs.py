"""Services on ECS: every file is a request that botocore's own description of the API takes."""

from __future__ import annotations

import dataclasses
import functools
import importlib
from typing import Any

import pytest

from polybus.binding import Binding
from polybus.clouds.aws.plan.ecs import _SIZES
from polybus.errors import ConfigError
from polybus.plan.run.asked import Asked

from .running import ROLE, SETTINGS, written

NETWORK = {
    "ECS_CLUSTER": "shop",
    "ECS_SUBNETS": "subnet-1,subnet-2",
    "ECS_SECURITY_GROUPS": "sg-1",
    "ECS_EXECUTION_ROLE_ARN": "arn:aws:iam::111122223333:role/execution",
    "ECS_LOG_GROUP": "/shop/prod",
}
REQUESTS = {
    "task-definition": ("ecs", "RegisterTaskDefinition"),
    "service": ("ecs", "CreateService"),
    "scalable-target": ("application-autoscaling", "RegisterScalableTarget"),
    "scaling": ("application-autoscaling", "PutScalingPolicy"),
}


def files(**more: Any) -> dict[str, Any]:
    found, _, _ = written("aws", "ecs", **{"given": NETWORK, **more})
    return {name: documents[0] for name, documents in found.items()}


def problems(service: str, operation: str, document: Any) -> list[str]:
    """List what botocore would refuse: what it knows no name for, types, ranges, and words that are none of a few."""
    shape = _shape(service, operation)
    from botocore.validate import ParamValidator

    report = ParamValidator().validate(document, shape)
    return [*([report.generate_report()] if report.has_errors() else []), *unknown(shape, document, operation)]


@functools.cache
def _shape(service: str, operation: str) -> Any:
    session = importlib.import_module("botocore.session")
    return session.Session().get_service_model(service).operation_model(operation).input_shape


def unknown(shape: Any, value: Any, place: str) -> list[str]:
    if shape.type_name == "structure":
        return [
            problem
            for name, item in value.items()
            for problem in (
                unknown(shape.members[name], item, f"{place}.{name}") if name in shape.members else [f"{place}.{name}"]
            )
        ]
    if shape.type_name == "list":
        return [problem for at, item in enumerate(value) for problem in unknown(shape.member, item, f"{place}[{at}]")]
    enum = getattr(shape, "enum", [])
    return [f"{place}: {value!r}"] if enum and value not in enum else []


def test_every_file_is_a_request_that_the_api_takes() -> None:
    found = files()
    checked = 0
    for name, document in found.items():
        part = name.partition(".")[2]
        kind = next((kind for kind in REQUESTS if part.startswith(kind)), None)
        if kind is not None:
            assert problems(*REQUESTS[kind], document) == [], name
            checked += 1
    assert checked == len(found) - 1  # identities.json is no request


def test_a_wrong_request_is_refused() -> None:
    target = files()["billing.scalable-target"]
    assert problems("application-autoscaling", "RegisterScalableTarget", {**target, "Max": 1})
    assert problems("application-autoscaling", "RegisterScalableTarget", {**target, "MaxCapacity": "1"})
    assert problems("application-autoscaling", "RegisterScalableTarget", {**target, "ServiceNamespace": "eks"})


def test_each_source_has_a_target_of_what_waits_and_is_in_flight_for_each_task() -> None:
    found = files(asked={"media": Asked(min=2, max=20, messages=50)})
    policies = [found[f"media.scaling-{name}"] for name in ("letters", "thumbnails")]
    target = found["media.scalable-target"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 20)
    for policy, queue in zip(policies, ("shop-prod-letters", "shop-prod-thumbnails"), strict=True):
        assert policy["ResourceId"] == target["ResourceId"] == "service/shop/shop-prod-media"
        tracked = policy["TargetTrackingScalingPolicyConfiguration"]
        assert tracked["TargetValue"] == 50
        *counted, whole = tracked["CustomizedMetricSpecification"]["Metrics"]
        assert [one["MetricStat"]["Metric"]["MetricName"] for one in counted] == [
            "ApproximateNumberOfMessagesVisible",
            "ApproximateNumberOfMessagesNotVisible",
            "RunningTaskCount",
        ]
        assert counted[0]["MetricStat"]["Metric"]["Dimensions"] == [{"Name": "QueueName", "Value": queue}]
        assert whole["Expression"] == "(waiting + in_flight) / tasks"
        # One series alone is returned, as Application Auto Scaling wants it.
        assert [one["ReturnData"] for one in (*counted, whole)] == [False, False, False, True]


def test_an_ordered_source_is_counted_by_its_own_name() -> None:
    [waiting, *_] = files()["billing.scaling-billing"]["TargetTrackingScalingPolicyConfiguration"][
        "CustomizedMetricSpecification"
    ]["Metrics"]
    assert waiting["MetricStat"]["Metric"]["Dimensions"] == [{"Name": "QueueName", "Value": "shop-prod-billing.fifo"}]


def test_what_only_publishes_is_not_scaled() -> None:
    found = files(asked={"checkout": Asked(min=3)})
    assert {name for name in found if name.startswith("checkout")} == {"checkout.task-definition", "checkout.service"}
    assert found["checkout.service"]["desiredCount"] == 3


def test_a_task_has_the_time_that_its_drain_takes() -> None:
    [container] = files(asked={"billing": Asked(grace=60.0)})["billing.task-definition"]["containerDefinitions"]
    assert container["stopTimeout"] == 75
    assert "1m" in container["command"]


def test_a_grace_that_ecs_does_not_wait_for_is_refused() -> None:
    files(asked={"billing": Asked(grace=105.0)})
    with pytest.raises(
        ConfigError, match=r"billing: grace: found 1m46s; ECS with Fargate kills 120 s .* --grace 1m45s"
    ):
        files(asked={"billing": Asked(grace=106.0)})


def test_no_task_at_all_is_refused_where_tasks_are_counted() -> None:
    with pytest.raises(ConfigError, match="billing: found min 0; allowed on ECS: from 1"):
        files(asked={"billing": Asked(min=0)})
    files(asked={"checkout": Asked(min=0)})


def test_a_container_is_held_and_asked_whether_it_lives() -> None:
    [container] = files()["billing.task-definition"]["containerDefinitions"]
    assert container["user"].split(":") == ["65532", "65532"]
    assert container["readonlyRootFilesystem"] is True
    assert container["linuxParameters"]["capabilities"] == {"drop": ["ALL"]}
    check = container["healthCheck"]
    assert check["command"][:3] == ["CMD", "python", "-c"]
    assert "http://127.0.0.1:8080/live" in check["command"][3]
    compile(check["command"][3], "health check", "exec")
    assert 5 <= check["interval"] <= 300
    assert 2 <= check["timeout"] <= 60
    assert 1 <= check["retries"] <= 10
    assert check["startPeriod"] <= 300


@pytest.mark.parametrize(
    ("cpu", "memory", "task"),
    [
        (0.25, 512, ("256", "512")),
        (0.25, 600, ("256", "1024")),
        (0.25, 2_049, ("512", "3072")),
        (0.3, 512, ("512", "1024")),
        (3.0, 1_024, ("4096", "8192")),
        (16.0, 122_880, ("16384", "122880")),
    ],
)
def test_a_task_is_the_smallest_that_has_what_is_asked_for(cpu: float, memory: int, task: tuple[str, str]) -> None:
    definition = files(asked={"billing": Asked(cpu=cpu, memory=memory)})["billing.task-definition"]
    assert (definition["cpu"], definition["memory"]) == task
    assert int(task[1]) in _SIZES[int(task[0])]


def test_what_no_task_has_is_refused() -> None:
    with pytest.raises(ConfigError, match="Fargate has up to 16 cores and 122880MiB"):
        files(asked={"billing": Asked(cpu=17.0)})


def test_services_are_placed_where_they_are_told() -> None:
    service = files()["billing.service"]
    assert service["networkConfiguration"]["awsvpcConfiguration"] == {
        "subnets": ["subnet-1", "subnet-2"],
        "securityGroups": ["sg-1"],
        "assignPublicIp": "DISABLED",
    }
    assert service["cluster"] == "shop"
    assert service["deploymentConfiguration"]["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}


def test_two_services_of_one_role_are_in_its_trust_once() -> None:
    [checkout, shared] = files()["identities"]["identities"]
    assert (shared["role"], shared["services"]) == (ROLE, ["billing", "media"])
    [statement] = shared["trustPolicy"]["Statement"]
    assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": "111122223333"}
    assert statement["Condition"]["ArnLike"] == {"aws:SourceArn": "arn:aws:ecs:eu-west-1:111122223333:*"}
    assert checkout["services"] == ["checkout"]


def test_the_binding_is_in_the_task_or_where_the_stack_puts_it() -> None:
    def told(settings: Any) -> str:
        [container] = files(settings=settings)["billing.task-definition"]["containerDefinitions"]
        value: str = {one["name"]: one["value"] for one in container["environment"]}["POLYBUS_BINDING"]
        return value

    assert set(Binding.from_json(told(SETTINGS["aws"])).subscriptions) == {"billing"}
    assert told(dataclasses.replace(SETTINGS["aws"], bindings="ssm")) == "ssm:/polybus/shop/prod/billing"


def test_what_the_stack_does_not_say_is_left_open_by_name() -> None:
    _, made, filler = written("aws", "ecs")
    assert set(filler.open) == set(NETWORK)
    assert any("Container Insights" in note for note in made.notes)
