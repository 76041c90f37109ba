"""Runs Pulumi programs in this process, each run isolated from every other.

Pulumi's SDK keeps its state in context variables and in one event loop a thread, and its test helpers leak the root
stack, the configuration and the exports of one test into the next. So a run has a thread, a copy of the context, a
configuration and a loop of its own; several may run at once. Nothing but the monitor (the engine's half of the
protocol) is replaced: the SDK serialises, waits and registers as it does under the CLI.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import json
import runpy
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pulumi.runtime import config, mocks, rpc, settings, stack

STACKS = Path(__file__).parents[2] / "stacks"

Create = Callable[[str, str, Mapping[str, Any]], dict[str, Any]]
"""Answers for the provider: type token, logical name and inputs to outputs, `id` among them."""

Look = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Answers for the provider's functions: token and arguments to the result."""


@dataclass(frozen=True)
class Registered:
    """One resource as the engine was asked for it."""

    urn: str
    type: str
    name: str
    parent: str
    inputs: Mapping[str, Any]
    options: Mapping[str, Any]


@dataclass
class Run:
    """What one run did; `outputs` are the stack's exports as `pulumi stack output --json` gives them."""

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, Any] = field(default_factory=dict)
    registered_outputs: dict[str, Any] = field(default_factory=dict)

    def named(self, name: str) -> Registered:
        return next(resource for resource in self.resources if resource.name == name)

    def of(self, type_: str) -> list[Registered]:
        return [resource for resource in self.resources if resource.type == type_]


class _Monitor(mocks.MockMonitor):
    def __init__(self, run: Run, create: Create, look: Look) -> None:
        super().__init__(_Provider(create, look))
        self._run = run
        self._lock = threading.Lock()

    def RegisterResource(self, request: Any) -> Any:
        answer = super().RegisterResource(request)
        if request.type != "pulumi:pulumi:Stack":
            inputs = rpc.deserialize_properties(request.object)
            made = Registered(answer.urn, request.type, request.name, request.parent, inputs, _options(request))
            with self._lock:
                self._run.resources.append(made)
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:
        outputs = whole(rpc.deserialize_properties(request.outputs))
        with self._lock:
            self._run.registered_outputs[request.urn] = outputs
            if request.urn.split("::")[2] == "pulumi:pulumi:Stack":
                self._run.outputs.update(outputs)
        return super().RegisterResourceOutputs(request)


class _Provider(mocks.Mocks):
    def __init__(self, create: Create, look: Look) -> None:
        self._create = create
        self._look = look

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        if args.custom is False:  # a component; None is a resource that is read
            return "", {}
        outputs = self._create(args.typ, args.name, args.inputs)
        return outputs.get("id"), {**args.inputs, **outputs}

    def call(self, args: mocks.MockCallArgs) -> Any:
        return self._look(args.token, args.args), []


def _options(request: Any) -> dict[str, Any]:
    options = {
        "protect": request.protect,
        "retainOnDelete": request.retainOnDelete,
        "deleteBeforeReplace": request.deleteBeforeReplace,
        "replaceOnChanges": list(request.replaceOnChanges),
        "ignoreChanges": list(request.ignoreChanges),
        # The SDKs add aliases of other types, for their own older versions; ours would name a resource.
        "aliases": [str(alias) for alias in request.aliases if alias.urn or alias.spec.name],
        "provider": request.provider,
        "dependencies": sorted(urn.rpartition("::")[2] for urn in request.dependencies),
    }
    return {name: value for name, value in options.items() if value}


def whole(value: Any) -> Any:
    """Write whole numbers as the CLI does: the SDK reads every number as a float."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole(item) for item in value]
    return value


def no_functions(token: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    if token == "aws:sqs/getQueues:getQueues":  # asked by every stack on AWS: there is nothing yet
        return {"queueUrls": []}
    raise AssertionError(f"the program reads {token}, which this test has no answer for")


def run(
    program: Callable[[], None],
    create: Create,
    *,
    values: Mapping[str, str] | None = None,
    look: Look = no_functions,
    stack_name: str = "dev",
    preview: bool = False,
    root: Path | None = STACKS,
    done: Run | None = None,
    secret: Sequence[str] = (),
) -> Run:
    """Run `program` with `values` as its stack configuration, of which the keys in `secret` are kept secret.

    Raises what it raises, with what it did in `done`.
    """
    done = done or Run()

    def isolated() -> None:
        settings.ROOT.set(None)
        config.set_all_config(dict(values or {}), list(secret))
        # What set_mocks leaves as it was: the tasks of every run in the process, which each would wait for.
        settings.SETTINGS.outputs = type(settings.SETTINGS.outputs)()  # a list, or in newer SDKs a set
        settings.SETTINGS.lock = threading.Lock()
        monitor = _Monitor(done, create, look)
        mocks.set_mocks(monitor.mocks, project="polybus", stack=stack_name, preview=preview, monitor=monitor)
        # set_mocks makes a root of its own, whose exports would mix with the program's.
        done.registered_outputs.clear()
        settings.ROOT.set(None)
        settings.SETTINGS.root_directory = None if root is None else str(root)
        try:
            loop.run_until_complete(stack.run_in_stack(program))
        finally:
            for task in asyncio.all_tasks(loop):  # what failed beside the first error, which nobody awaits
                task.cancel()
            loop.run_until_complete(asyncio.sleep(0))

    try:
        with (
            _loop_of_its_own() as loop,
            ThreadPoolExecutor(1, initializer=asyncio.set_event_loop, initargs=(loop,)) as own,
        ):
            own.submit(contextvars.copy_context().run, isolated).result()
    except BaseException as error:
        _forget(error)
        raise
    return done


def _forget(error: BaseException) -> None:
    """Drop what a failed run has left: Pulumi awaits none of the outputs that can't be known any more, and says so."""
    traceback.clear_frames(error.__traceback__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        gc.collect()


@contextmanager
def _loop_of_its_own() -> Iterator[asyncio.AbstractEventLoop]:
    """Give a loop whose worker threads have loops too, as the SDK's half of the engine wants, and close them all."""
    loop = asyncio.new_event_loop()
    workers: list[asyncio.AbstractEventLoop] = []

    def equip() -> None:
        workers.append(asyncio.new_event_loop())
        asyncio.set_event_loop(workers[-1])

    executor = ThreadPoolExecutor(8, thread_name_prefix="pulumi-rpc", initializer=equip)
    loop.set_default_executor(executor)
    try:
        yield loop
    finally:
        executor.shutdown()
        for each in (loop, *workers):
            each.close()


def run_stack(stack_name: str, create: Create, *, look: Look = no_functions, **more: Any) -> Run:
    """Run the program in stacks/ with the configuration of one of its stack files."""
    return run(main, create, values=configuration(stack_name), look=look, stack_name=stack_name, **more)


def main() -> None:
    """The program in stacks/, as the language host runs it."""
    runpy.run_path(str(STACKS / "__main__.py"), run_name="__main__")


def configuration(stack_name: str) -> dict[str, str]:
    """Give a stack's configuration as the CLI hands it over: the project's defaults, then the stack's own values."""
    project = yaml.safe_load((STACKS / "Pulumi.yaml").read_text())
    own = yaml.safe_load((STACKS / f"Pulumi.{stack_name}.yaml").read_text())["config"]
    defaults = {f"polybus:{key}": entry["default"] for key, entry in project["config"].items() if "default" in entry}
    return {key: _as_given(value) for key, value in {**defaults, **own}.items()}


def _as_given(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def stack_output(done: Run, name: str = "polybus") -> str:
    """Give what `pulumi stack output <name> --json` prints."""
    return json.dumps(done.outputs[name], indent=2)
