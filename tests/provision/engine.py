"""A test double of Pulumi's engine. It is not Pulumi: it is what this project's tests need of it, and no more.

It serves the ResourceMonitor and Engine protocols over gRPC, runs a program in a process of its own (`engine_host.py`,
in place of the CLI's language host), asks provider plugins over gRPC what to do with each resource
(`engine_plugin.py`), and keeps a state between runs. As the engine does (pkg/resource/deploy), it

- decides of one resource after the other, and makes side by side what doesn't wait for each other, in an order that a
  seed chooses;
- deletes before it replaces what would have to be replaced with a resource, last first, and makes it again when the
  program comes to it;
- deletes in rounds, each of what nothing that is left needs; goes past what is protected, which fails, and leaves alone
  what that needs: all else is deleted;
- begins nothing new after anything else has failed;

- imports by reading what is there, and makes nothing for it.

It knows no replacement without deleting first, no aliases or secrets.
"""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import grpc
import yaml
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
    retain: bool
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

    `root` is the project's folder, `seed` chooses orders. `preview` and `up` return what they would do, and did; so do
    `refresh` and `destroy`.
    """

    def __init__(self, program: Path, root: Path, stack: str, host: Host, plugins: Plugins, *, seed: int = 0) -> None:
        self._program = program
        self._root = root
        self._host = host
        self._plugins = plugins
        self._random = Random(seed)
        self.stack = stack
        self.state: dict[str, Held] = {}

    def preview(self, config: Mapping[str, Any]) -> Changes:
        """Say what `up` would do; nothing is done."""
        return self._run(config, preview=True)

    def up(self, config: Mapping[str, Any], *, refresh: bool = False) -> Changes:
        """Create or update the stack; with `refresh`, from what there is and not from what the state has."""
        if refresh:
            self.refresh()
        return self._run(config, preview=False)

    def refresh(self) -> Changes:
        """Bring the state to what there is."""
        changes = Changes()
        self._deployment(self.state, changes, preview=False).refresh()
        return changes

    def destroy(self) -> Changes:
        """Delete everything, what others need last, but for what is protected and what that needs."""
        changes = Changes()
        self._deployment(self.state, changes, preview=False).delete(list(self.state))
        return changes

    def configure(self, config: Mapping[str, Any]) -> None:
        """Write the stack's configuration beside the program, for whoever reads it there."""
        (self._root / f"Pulumi.{self.stack}.yaml").write_text(yaml.safe_dump({"config": dict(config)}))

    def forget(self) -> None:
        """Remove the stack with its state, and nothing of what it has made."""
        self.state = {}

    def take_over(self, config: Mapping[str, Any], file: str) -> None:
        """Import what a file for `pulumi import --file` names; raises ValueError for what isn't there."""
        self.configure(config)
        asked = json.loads(file)
        root = Held(STACK_TYPE, f"{PROJECT}-{self.stack}", False, {}, "", {}, False, False, {}, ())
        urns = {root.name: _urn(self.stack, root.type, root.name, ""), **asked["nameTable"]}
        state = {urns[root.name]: root, **self.state}
        for one in asked["resources"]:
            type_, name, parent = one["type"], one["name"], urns[one.get("parent", root.name)]
            urn = urns[name] = _urn(self.stack, type_, name, parent)
            if one.get("component"):
                identity, inputs, outputs = "", {}, {}
            else:
                identity, inputs, outputs = self._plugins.of(type_).read(urn, one["id"], {}, {})
                if not identity:
                    raise ValueError(f"{urn}: there is no {one['id']}")
            custom = not one.get("component")
            state[urn] = Held(type_, name, custom, inputs, identity, outputs, False, False, {}, (parent,))
        self.state = state

    def _deployment(self, state: dict[str, Held], changes: Changes, *, preview: bool) -> _Deployment:
        return _Deployment(state, self._plugins, changes, self._random, preview=preview)

    def _run(self, config: Mapping[str, Any], *, preview: bool) -> Changes:
        changes = Changes()
        state = copy.deepcopy(self.state) if preview else self.state
        deployment = self._deployment(state, changes, preview=preview)
        printed = self._execute(_Monitor(deployment, self.stack), config, preview=preview)
        deployment.settle()
        changes.failed = deployment.cancelled or printed  # of what failed the program may have seen another first
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

    def __init__(
        self, state: dict[str, Held], plugins: Plugins, changes: Changes, random: Random, *, preview: bool
    ) -> None:
        self._state = state
        self._plugins = plugins
        self._preview = preview
        self._random = random
        self._turns = _Turns(random)
        self._deciding = threading.Lock()
        self.cancelled = ""
        self.changes = changes
        self.registered: dict[str, None] = {}
        self.condemned: dict[str, str] = {}

    def register(self, urn: str, new: Held) -> Held:
        """Bring one resource to what the program says of it, and return it as it is now."""
        with self._turns.turn():
            try:
                with self._deciding:
                    step = self._decide(urn, new)
                step()
            except (grpc.RpcError, ValueError) as error:
                self.cancelled = self.cancelled or f"{new.name}: {reason(error)}"
                raise
            with self._deciding:
                self._state[urn] = new
        return new

    def settle(self) -> None:
        """Let what is under way come to its end, though the program that asked for it may have failed."""
        self._turns.idle()

    def _decide(self, urn: str, new: Held) -> Callable[[], None]:
        """Return what is to be done."""
        if self.cancelled:
            raise ValueError(f"nothing new is begun after: {self.cancelled}")
        held = self._state.get(urn)
        self.registered[urn] = None
        plugin = self._plugins.of(new.type) if new.custom else None
        if plugin is not None:
            new.inputs = plugin.check(urn, {} if held is None else held.inputs, new.inputs)
        if held is None:
            return lambda: self._create(urn, new, plugin)
        return self._compare(urn, held, new, plugin)

    def _compare(self, urn: str, held: Held, new: Held, plugin: Plugin | None) -> Callable[[], None]:
        if plugin is None:
            changed, replaces = held.inputs != new.inputs, False
        else:
            changed, replaces = plugin.diff(urn, held.id, held.inputs, held.outputs, new.inputs)
        if replaces:
            going = self._condemn(urn, new)

            def replace() -> None:
                for gone, old in going:
                    self._remove(gone, old)
                self._create(urn, new, plugin)

            return replace
        new.id, new.outputs = held.id, held.outputs
        (self.changes.updated if changed else self.changes.same).add(new.name)
        if not changed or plugin is None:
            return lambda: None

        def update() -> None:
            new.outputs = plugin.update(urn, held.id, held.inputs, held.outputs, new.inputs, preview=self._preview)

        return update

    def _create(self, urn: str, new: Held, plugin: Plugin | None) -> None:
        if plugin is not None:
            new.id, new.outputs = plugin.create(urn, new.inputs, preview=self._preview)
        (self.changes.replaced if urn in self.condemned else self.changes.created).add(new.name)

    def _condemn(self, root: str, new: Held) -> list[tuple[str, Held]]:
        """Take out of the state a resource and, before it, what would be replaced if what it gives were another.

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
        going = [(urn, self._state.pop(urn)) for urn in reversed(replaced)]
        self.condemned |= {urn: held.name for urn, held in going}
        return going

    def finish(self) -> None:
        """Delete what the program has no more."""
        self.changes.deleted |= {name for urn, name in self.condemned.items() if urn not in self.registered}
        self.delete([urn for urn in self._state if urn not in self.registered])

    def delete(self, urns: list[str]) -> None:
        """Delete resources, those that others need after these; what is protected and what that needs stays."""
        left, protected, kept = dict.fromkeys(urns), list[str](), set[str]()
        while left and not self.cancelled:
            needed = {other for urn in left for other in self._state[urn].needs}
            together = [urn for urn in left if urn not in needed]
            self._random.shuffle(together)
            for urn in together:
                del left[urn]
            refused = [urn for urn in together if urn not in kept and self._state[urn].protect]
            protected += [self._state[urn].name for urn in refused]
            kept |= {other for urn in refused for other in self._needed(urn)}
            going = [urn for urn in together if urn not in kept and urn not in refused]
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                for failed in pool.map(self._deleted, going):
                    self.cancelled = self.cancelled or failed
        wrong = f"protected: {', '.join(sorted(protected))}" if protected else ""
        self.changes.failed = self.cancelled or wrong

    def _needed(self, urn: str) -> set[str]:
        """Return all that a resource needs, and what that needs."""
        found: set[str] = set()
        ahead = [urn]
        while ahead:
            held = self._state.get(ahead.pop())
            more = set(held.needs) - found if held else set()
            found |= more
            ahead += more
        return found

    def _deleted(self, urn: str) -> str:
        """Delete one resource; return what went wrong."""
        held = self._state[urn]
        try:
            self._remove(urn, held)
        except grpc.RpcError as error:
            return f"{held.name}: {reason(error)}"
        del self._state[urn]
        self.changes.deleted.add(held.name)
        return ""

    def _remove(self, urn: str, held: Held) -> None:
        self.changes.order.append(held.name)
        if held.custom and not held.retain and not self._preview:
            self._plugins.of(held.type).delete(urn, held.id, held.inputs, held.outputs)

    def refresh(self) -> None:
        """Read every resource; what is gone leaves the state."""
        custom = [(urn, held) for urn, held in self._state.items() if held.custom]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = list(pool.map(lambda each: self._plugins.of(each[1].type).read(*_asked(*each)), custom))
        for (urn, held), (identity, inputs, outputs) in zip(custom, found, strict=True):
            if not identity:
                del self._state[urn]
                self.changes.deleted.add(held.name)
            elif (inputs, outputs) == (held.inputs, held.outputs):
                self.changes.same.add(held.name)
            else:
                held.inputs, held.outputs = inputs, outputs
                self.changes.updated.add(held.name)

    def invoke(self, token: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return self._plugins.of(token).invoke(token, arguments, preview=self._preview)


# At once: more than the machines that tests run on have cores, and less than what a stack has resources.
_AT_ONCE = 6


class _Turns:
    """Lets a few at a time go ahead: who, of those that wait, `random` chooses."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._lock = threading.Condition()
        self._free = _AT_ONCE
        self._waiting: list[threading.Event] = []

    @contextmanager
    def turn(self) -> Iterator[None]:
        mine = threading.Event()
        with self._lock:
            self._waiting.append(mine)
            self._call()
        mine.wait()
        try:
            yield
        finally:
            with self._lock:
                self._free += 1
                self._call()
                self._lock.notify_all()

    def idle(self) -> None:
        """Wait until nobody goes ahead or waits."""
        with self._lock:
            self._lock.wait_for(lambda: self._free == _AT_ONCE and not self._waiting)

    def _call(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            self._waiting.pop(self._random.randrange(len(self._waiting))).set()


def reason(error: Exception) -> str:
    """Return what a plugin, or the double itself, said was wrong."""
    return str(error.details()) if isinstance(error, grpc.Call) else str(error)


def _asked(urn: str, held: Held) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    return urn, held.id, held.inputs, held.outputs


class _Monitor(resource_pb2_grpc.ResourceMonitorServicer, engine_pb2_grpc.EngineServicer):
    """The engine's half of the protocol with a program."""

    def __init__(self, deployment: _Deployment, stack: str) -> None:
        self._deployment = deployment
        self._stack = stack

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
        kept = (request.protect, request.retainOnDelete)
        new = Held(request.type, request.name, request.custom, inputs, "", {}, *kept, depends, needs)
        try:
            made = self._deployment.register(urn, new)
        except (grpc.RpcError, ValueError) as error:
            context.abort(grpc.StatusCode.UNKNOWN, reason(error))
        properties = json_format.ParseDict({**made.inputs, **made.outputs}, struct_pb2.Struct())
        return resource_pb2.RegisterResourceResponse(urn=urn, id=made.id, object=properties)

    def RegisterResourceOutputs(self, request: Any, context: Any) -> Any:
        if request.urn.split("::")[2] == STACK_TYPE:
            self._deployment.changes.outputs = json_format.MessageToDict(request.outputs)
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
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
        return _urn(self._stack, request.type, request.name, request.parent)


def _urn(stack: str, type_: str, name: str, parent: str) -> str:
    parents = parent.split("::")[2] + "$" if parent else ""
    parents = "" if parents == f"{STACK_TYPE}$" else parents.removeprefix(f"{STACK_TYPE}$")
    return f"urn:pulumi:{stack}::{PROJECT}::{parents}{type_}::{name}"


def _returned(properties: Any) -> dict[str, Any]:
    """Name a field whose name is a word of Python's."""
    return {"return": properties}


# More than the program asks for at a time, since each waits for its turn.
_WORKERS = 64


@contextmanager
def _served(monitor: _Monitor) -> Iterator[str]:
    server = grpc.server(ThreadPoolExecutor(_WORKERS, thread_name_prefix="engine-double"))
    resource_pb2_grpc.add_ResourceMonitorServicer_to_server(monitor, server)
    engine_pb2_grpc.add_EngineServicer_to_server(monitor, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
