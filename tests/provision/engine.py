"""A test double of Pulumi's engine. It is not Pulumi: it is what this project's tests need of it, and no more.

It serves the ResourceMonitor and Engine protocols over gRPC, runs a program in a process of its own (`engine_host.py`,
in place of the CLI's language host), asks provider plugins over gRPC what to do with each resource
(`engine_plugin.py`), and keeps a state between runs. Replacement is as Pulumi's step generator has it where a provider
asks to delete first: what would have to be replaced with a resource is deleted before it, last first, and made again
when the program comes to it. It knows no replacement without deleting first, no aliases, refresh, imports or secrets,
and does one thing at a time.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, resource_pb2, resource_pb2_grpc
from pulumi.runtime.rpc import UNKNOWN

from .engine_host import Host
from .engine_plugin import Plugin, Plugins

PROJECT = "polybus"
STACK_TYPE = "pulumi:pulumi:Stack"


@dataclass
class Held:
    """What the state has of one resource; `depends` are the URNs that each property depends on, `needs` all of them."""

    type: str
    name: str
    custom: bool
    inputs: dict[str, Any]
    id: str
    outputs: dict[str, Any]
    protect: bool
    depends: dict[str, list[str]]
    needs: tuple[str, ...]


@dataclass
class Changes:
    """What one run did, or in a preview would do, by logical name; `failed` is what went wrong.

    `order` has what was deleted, for good or to be replaced, in that order.
    """

    created: set[str] = field(default_factory=set)
    updated: set[str] = field(default_factory=set)
    replaced: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    same: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    failed: str = ""

    @property
    def none(self) -> bool:
        return not (self.created or self.updated or self.replaced or self.deleted or self.failed)


class EngineDouble:
    """One stack of the program in `program`: its state, and the runs over it.

    `root` is the project's folder. `preview` and `up` return what they would do, and did; so does `destroy`.
    """

    def __init__(self, program: Path, root: Path, stack: str, host: Host, plugins: Plugins) -> None:
        self._program = program
        self._root = root
        self._host = host
        self._plugins = plugins
        self.stack = stack
        self.state: dict[str, Held] = {}

    def preview(self, config: Mapping[str, Any]) -> Changes:
        """Say what `up` would do; nothing is done."""
        return self._run(config, preview=True)

    def up(self, config: Mapping[str, Any]) -> Changes:
        """Create or update the stack."""
        return self._run(config, preview=False)

    def destroy(self) -> Changes:
        """Delete everything, what others need last; refuse, and delete nothing, where anything is protected."""
        changes = Changes()
        _Deployment(self.state, self._plugins, changes, preview=False).delete(list(self.state))
        return changes

    def _run(self, config: Mapping[str, Any], *, preview: bool) -> Changes:
        changes = Changes()
        state = copy.deepcopy(self.state) if preview else self.state
        deployment = _Deployment(state, self._plugins, changes, preview=preview)
        changes.failed = self._execute(_Monitor(deployment, self.stack), config, preview=preview)
        if not changes.failed:
            deployment.finish()
        if not preview:  # in the order of registration, in which what is needed comes first
            self.state = {urn: state[urn] for urn in (*deployment.registered, *state) if urn in state}
        return changes

    def _execute(self, monitor: _Monitor, config: Mapping[str, Any], *, preview: bool) -> str:
        """Run the program to its end, and return what went wrong."""
        with _served(monitor) as address:
            return self._host.run(
                config,
                address=address,
                project=PROJECT,
                name=self.stack,
                root=str(self._root),
                preview=preview,
                program=str(self._program),
            )


class _Deployment:
    """One run: what becomes of each resource, done through the plugins unless it is a preview."""

    def __init__(self, state: dict[str, Held], plugins: Plugins, changes: Changes, *, preview: bool) -> None:
        self._state = state
        self._plugins = plugins
        self._preview = preview
        self.changes = changes
        self.registered: dict[str, None] = {}
        self.condemned: dict[str, str] = {}

    def register(self, urn: str, new: Held) -> Held:
        """Bring one resource to what the program says of it, and return it as it is now."""
        held = self._state.get(urn)
        self.registered[urn] = None
        plugin = self._plugins.of(new.type) if new.custom else None
        if plugin is not None:
            new.inputs = plugin.check(urn, {} if held is None else held.inputs, new.inputs)
        if held is None:
            self._create(urn, new, plugin)
        else:
            self._compare(urn, held, new, plugin)
        self._state[urn] = new
        return new

    def _compare(self, urn: str, held: Held, new: Held, plugin: Plugin | None) -> None:
        if plugin is None:
            changed, replaces = held.inputs != new.inputs, False
        else:
            changed, replaces = plugin.diff(urn, held.id, held.inputs, held.outputs, new.inputs)
        if replaces:
            self._condemn(urn, new)
            self._create(urn, new, plugin)
            return
        (self.changes.updated if changed else self.changes.same).add(new.name)
        new.id, new.outputs = held.id, held.outputs
        if changed and plugin is not None:
            new.outputs = plugin.update(urn, held.id, held.inputs, held.outputs, new.inputs, preview=self._preview)

    def _create(self, urn: str, new: Held, plugin: Plugin | None) -> None:
        (self.changes.replaced if urn in self.condemned else self.changes.created).add(new.name)
        if plugin is not None:
            new.id, new.outputs = plugin.create(urn, new.inputs, preview=self._preview)

    def _condemn(self, root: str, new: Held) -> None:
        """Delete a resource and, before it, what would have to be replaced if what it gives were another.

        What is protected refuses, but a program may take the protection away and replace in one update.
        """
        replaced = [root]
        for urn, held in self._state.items():  # what is needed comes first, so one pass finds them all
            if urn in self.registered or not held.custom:
                continue
            touched = {key: UNKNOWN for key, needed in held.depends.items() if set(needed) & set(replaced)}
            if touched:
                guess = {**held.inputs, **touched}
                _, replaces = self._plugins.of(held.type).diff(urn, held.id, held.inputs, held.outputs, guess)
                replaced += [urn] if replaces else []
        held_on = [self._state[urn] for urn in replaced if urn != root or new.protect]
        protected = [one.name for one in held_on if one.protect]
        if protected:
            raise ValueError(f"protected, so they can't be replaced: {', '.join(sorted(protected))}")
        for urn in reversed(replaced):
            self.condemned[urn] = self._state[urn].name
            self._remove(urn)

    def finish(self) -> None:
        """Delete what the program has no more; where any of it is protected, nothing."""
        self.changes.deleted |= {name for urn, name in self.condemned.items() if urn not in self.registered}
        self.delete([urn for urn in self._state if urn not in self.registered])

    def delete(self, urns: list[str]) -> None:
        """Delete resources, those that others need after these; where any is protected, nothing."""
        protected = [self._state[urn].name for urn in urns if self._state[urn].protect]
        if protected:
            self.changes.failed = f"protected: {', '.join(sorted(protected))}"
            return
        left = dict.fromkeys(urns)
        while left:
            for urn in [urn for urn in left if not any(urn in self._state[other].needs for other in left)]:
                del left[urn]
                self.changes.deleted.add(self._state[urn].name)
                self._remove(urn)

    def _remove(self, urn: str) -> None:
        held = self._state[urn]
        self.changes.order.append(held.name)
        if held.custom and not self._preview:
            self._plugins.of(held.type).delete(urn, held.id, held.inputs, held.outputs)
        del self._state[urn]

    def invoke(self, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return self._plugins.of(token).invoke(token, arguments, preview=self._preview)


class _Monitor(resource_pb2_grpc.ResourceMonitorServicer, engine_pb2_grpc.EngineServicer):
    """The engine's half of the protocol with a program."""

    def __init__(self, deployment: _Deployment, stack: str) -> None:
        self._deployment = deployment
        self._stack = stack
        self._lock = threading.Lock()

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
        urn, inputs = self._urn(request), json_format.MessageToDict(request.object)
        depends = {key: list(those.urns) for key, those in request.propertyDependencies.items()}
        # A child needs its parent, so a parent is deleted after all that it holds.
        needs = (*request.dependencies, request.parent)
        new = Held(request.type, request.name, request.custom, inputs, "", {}, request.protect, depends, needs)
        with self._lock:
            try:
                made = self._deployment.register(urn, new)
            except (grpc.RpcError, ValueError) as error:
                context.abort(grpc.StatusCode.UNKNOWN, error.details() if isinstance(error, grpc.Call) else str(error))
        properties = json_format.ParseDict({**made.inputs, **made.outputs}, struct_pb2.Struct())
        return resource_pb2.RegisterResourceResponse(urn=urn, id=made.id, object=properties)

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:
        if request.urn.split("::")[2] == STACK_TYPE:
            self._deployment.changes.outputs = json_format.MessageToDict(request.outputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        with self._lock:
            found = self._deployment.invoke(request.tok, json_format.MessageToDict(request.args))
        properties = json_format.ParseDict(found, struct_pb2.Struct())
        return resource_pb2.ResourceInvokeResponse(**_returned(properties))

    def SignalAndWaitForShutdown(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def Log(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def SetRootResource(self, request: Any, context: Any) -> Any:
        return engine_pb2.SetRootResourceResponse()

    def _urn(self, request: Any) -> str:
        parents = request.parent.split("::")[2] + "$" if request.parent else ""
        parents = "" if parents == f"{STACK_TYPE}$" else parents.removeprefix(f"{STACK_TYPE}$")
        return f"urn:pulumi:{self._stack}::{PROJECT}::{parents}{request.type}::{request.name}"


def _returned(properties: Any) -> dict[str, Any]:
    """Name a field whose name is a word of Python's."""
    return {"return": properties}


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
