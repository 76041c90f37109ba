"""A test double of Pulumi's engine. It is not Pulumi: it is what this project's tests need of it, and no more.

It serves the ResourceMonitor and Engine protocols over gRPC, runs a program in a process of its own
(`engine_program.py` in place of the CLI's language host), keeps a state between runs, and decides by inputs alone what
to create, update and delete. It has no providers: `Provider` is a local server's. It knows no replacement, aliases,
refresh or secrets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, resource_pb2, resource_pb2_grpc

PROJECT = "polybus"
STACK_TYPE = "pulumi:pulumi:Stack"


class Provider(Protocol):
    """Makes, changes and deletes real resources."""

    def create(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]: ...

    def update(self, type_: str, name: str, inputs: Mapping[str, Any]) -> dict[str, str]: ...

    def delete(self, type_: str, outputs: Mapping[str, str]) -> None: ...


@dataclass
class Held:
    """What the state has of one resource."""

    type: str
    name: str
    custom: bool
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    protect: bool
    needs: tuple[str, ...]


@dataclass
class Changes:
    """What one run did, or in a preview would do, by logical name."""

    created: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    same: set[str] = field(default_factory=set)
    outputs: dict[str, Any] = field(default_factory=dict)
    failed: str = ""

    @property
    def none(self) -> bool:
        return not (self.created or self.updated or self.deleted or self.failed)


class EngineDouble:
    """One stack: its state, and the runs over it."""

    def __init__(self, provider: Provider, stack: str) -> None:
        self._provider = provider
        self.stack = stack
        self.state: dict[str, Held] = {}

    def preview(self, program: Path, root: Path, values: Mapping[str, str]) -> Changes:
        return self._run(program, root, values, preview=True)

    def up(self, program: Path, root: Path, values: Mapping[str, str]) -> Changes:
        return self._run(program, root, values, preview=False)

    def destroy(self) -> Changes:
        """Delete everything, what others need last; refuse, and delete nothing, where anything is protected."""
        changes = Changes()
        protected = [held.name for held in self.state.values() if held.protect]
        if protected:
            changes.failed = f"protected: {', '.join(sorted(protected))}"
            return changes
        self._delete(list(self.state), changes, preview=False)
        return changes

    def _run(self, program: Path, root: Path, values: Mapping[str, str], *, preview: bool) -> Changes:
        changes = Changes()
        monitor = _Monitor(self.state, self._provider, self.stack, changes, preview)
        with _served(monitor) as address:
            environment = {**os.environ, "PULUMI_CONFIG": json.dumps(dict(values))}
            host = [sys.executable, str(Path(__file__).with_name("engine_program.py"))]
            arguments = [address, PROJECT, self.stack, str(root), "preview" if preview else "up", str(program)]
            done = subprocess.run([*host, *arguments], env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            changes.failed = done.stderr
            return changes
        gone = [urn for urn in self.state if urn not in monitor.registered]
        self._delete(gone, changes, preview=preview)
        return changes

    def _delete(self, urns: list[str], changes: Changes, *, preview: bool) -> None:
        left = dict.fromkeys(urns)
        while left:
            free = [urn for urn in left if not any(urn in self.state[other].needs for other in left)]
            for urn in free:
                held = self.state[urn]
                del left[urn]
                changes.deleted.add(held.name)
                if not preview:
                    if held.custom:
                        self._provider.delete(held.type, held.outputs)
                    del self.state[urn]


class _Monitor(resource_pb2_grpc.ResourceMonitorServicer, engine_pb2_grpc.EngineServicer):  # type: ignore[misc]
    def __init__(self, state: dict[str, Held], provider: Provider, stack: str, changes: Changes, preview: bool) -> None:
        self._state = state
        self._provider = provider
        self._stack = stack
        self._changes = changes
        self._preview = preview
        self._lock = threading.Lock()
        self.registered: set[str] = set()
        self.log: list[str] = []

    def SupportsFeature(self, request: Any, context: Any) -> Any:
        return resource_pb2.SupportsFeatureResponse(hasSupport=request.id in ("secrets", "resourceReferences"))

    def GetDeploymentInfo(self, request: Any, context: Any) -> Any:
        return resource_pb2.DeploymentInfo(
            supportedFeatures=[
                resource_pb2.RESOURCE_MONITOR_FEATURE_SECRETS,
                resource_pb2.RESOURCE_MONITOR_FEATURE_RESOURCE_REFERENCES,
                resource_pb2.RESOURCE_MONITOR_FEATURE_ALIAS_SPECS,
            ]
        )

    def RegisterResource(self, request: Any, context: Any) -> Any:
        urn = self._urn(request)
        inputs = json_format.MessageToDict(request.object)
        with self._lock:
            self.registered.add(urn)
            outputs = self._decide(urn, request, inputs)
        properties = json_format.ParseDict({**inputs, **outputs}, struct_pb2.Struct())
        return resource_pb2.RegisterResourceResponse(urn=urn, id=outputs.get("id", ""), object=properties)

    def _decide(self, urn: str, request: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        held = self._state.get(urn)
        if held is not None and held.inputs == inputs:
            self._changes.same.add(request.name)
            held.protect = request.protect
            return held.outputs
        (self._changes.created if held is None else self._changes.updated).add(request.name)
        if self._preview:
            return {} if held is None else held.outputs
        outputs: dict[str, Any] = {}
        if request.custom:
            make = self._provider.create if held is None else self._provider.update
            outputs = {**make(request.type, request.name, inputs)}
        # A child needs its parent, so a parent is deleted after all that it holds.
        needs = (*request.dependencies, request.parent)
        self._state[urn] = Held(request.type, request.name, request.custom, inputs, outputs, request.protect, needs)
        return outputs

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:
        if request.urn.split("::")[2] == STACK_TYPE:
            self._changes.outputs = json_format.MessageToDict(request.outputs)
        return empty_pb2.Empty()

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Log(self, request: Any, context: Any) -> Any:
        self.log.append(request.message)
        return empty_pb2.Empty()

    def SetRootResource(self, request: Any, context: Any) -> Any:
        return engine_pb2.SetRootResourceResponse()

    def _urn(self, request: Any) -> str:
        parents = request.parent.split("::")[2] + "$" if request.parent else ""
        parents = "" if parents == f"{STACK_TYPE}$" else parents.removeprefix(f"{STACK_TYPE}$")
        return f"urn:pulumi:{self._stack}::{PROJECT}::{parents}{request.type}::{request.name}"


@contextmanager
def _served(monitor: _Monitor) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(8, thread_name_prefix="engine-double"))
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    engine_pb2_grpc.add_EngineServicer_to_server(monitor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
