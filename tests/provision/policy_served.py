"""Asks the policy pack what Pulumi's engine asks, over the engine's own protocol, with the real `pulumi-policy`.

Argument: the project's folder. What it prints is JSON: of each question, the rules that reported and where.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from polybus.clouds.aws.local import camel
from polybus.plan.values import Resource, refs

from .test_policy_pack import planned, text

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"  # how Pulumi writes a text that isn't known yet


def ask(engine: Any, resources: Sequence[Resource], *, known: bool) -> list[list[str]]:
    """Show resources to the pack one by one and all together."""
    made = {resource.name: resource for resource in resources if resource.kind != "lookup"}
    shown = [_shown(resource, made, known) for resource in made.values()]
    single = [_alone(engine, one) for one in shown]
    together = engine.AnalyzeStack(analyzer_pb2.AnalyzeStackRequest(resources=shown)).diagnostics
    found = [diagnostic for answer in single for diagnostic in answer.diagnostics] + list(together)
    return sorted([one.policyName, one.urn.rpartition("::")[2]] for one in found)


def _alone(engine: Any, one: Any) -> Any:
    request = analyzer_pb2.AnalyzeRequest(type=one.type, name=one.name, urn=one.urn, properties=one.properties)
    answer = engine.Analyze(request)
    for diagnostic in answer.diagnostics:
        diagnostic.urn = one.urn
    return answer


def _urn(resource: Resource) -> str:
    return f"urn:pulumi:dev::polybus::polybus:index:MessageBus${resource.type}::{resource.name}"


def _shown(resource: Resource, made: dict[str, Resource], known: bool) -> Any:
    needs = {
        camel(key): [_urn(made[ref.resource]) for ref in refs(value) if ref.resource in made]
        for key, value in resource.properties.items()
    }
    values = {camel(key): text(value, known) for key, value in resource.properties.items()}
    plain = {key: UNKNOWN if value is None else value for key, value in values.items()}
    return analyzer_pb2.AnalyzerResource(
        type=resource.type,
        name=resource.name,
        urn=_urn(resource),
        properties=json_format.ParseDict(plain, struct_pb2.Struct()),
        propertyDependencies={
            key: analyzer_pb2.AnalyzerPropertyDependencies(urns=urns) for key, urns in needs.items() if urns
        },
    )


def main(root: str) -> None:
    pack = [sys.executable, "-u", str(Path(root) / "stacks" / "policy")]
    with subprocess.Popen(pack, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            port = int(served.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                engine = analyzer_pb2_grpc.AnalyzerStub(channel)
                info = engine.GetAnalyzerInfo(empty_pb2.Empty())
                answers: dict[str, Any] = {"name": info.name, "policies": sorted(one.name for one in info.policies)}
                for cloud in ("aws", "azure", "gcp"):
                    answers[cloud] = [ask(engine, planned(cloud), known=known) for known in (True, False)]
                gone = ("billing-redrive", "billing-queue-access")
                rest = [resource for resource in planned("aws") if resource.name not in gone]
                answers["broken"] = ask(engine, rest, known=False)
        finally:
            served.terminate()
    print(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1])
