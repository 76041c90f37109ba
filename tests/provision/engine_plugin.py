"""How the double of the engine runs provider plugins and asks them, as Pulumi's engine does: see `engine.py`."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

__all__ = ["Plugin", "PluginError", "Plugins"]

Properties = dict[str, Any]


class PluginError(ValueError):
    """A plugin refused something, or couldn't be started; it says what."""


class Plugins:
    """The plugins on `path`, each started when it is first asked for and ended with the block.

    A package's part of the stack's configuration (`aws:region` for aws) is what its provider is configured with.
    """

    def __init__(self, path: str, config: Mapping[str, Any]) -> None:
        self._path = path
        self._config = config
        self._starting = threading.Lock()
        self._running: dict[str, Plugin] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for plugin in self._running.values():
            plugin.close()

    def of(self, token: str) -> Plugin:
        """Return the plugin of a type's or function's package."""
        package = token.split(":", maxsplit=1)[0]
        with self._starting:
            if package not in self._running:
                self._running[package] = self._start(package)
            return self._running[package]

    def _start(self, package: str) -> Plugin:
        executable = shutil.which(f"pulumi-resource-{package}", path=self._path)
        if executable is None:
            raise PluginError(f"there is no pulumi-resource-{package} on {self._path}")
        prefix = f"{package}:"
        own = {key.removeprefix(prefix): value for key, value in self._config.items() if key.startswith(prefix)}
        return Plugin(package, executable, own)


class Plugin:
    """One plugin in a process of its own."""

    def __init__(self, package: str, executable: str, config: Mapping[str, Any]) -> None:
        # The last argument is the engine's address, for plugins that log to it.
        self._process = subprocess.Popen([executable, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.strip().isdigit():
            self._process.kill()
            raise PluginError(f"{executable} printed {line!r} in place of its port")
        self._channel = grpc.insecure_channel(f"127.0.0.1:{int(line)}")
        self._stub = provider_pb2_grpc.ResourceProviderStub(self._channel)
        self._configure(f"urn:pulumi:stack::project::pulumi:providers:{package}::default", config)

    def close(self) -> None:
        """End it as the engine does."""
        self._channel.close()
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def check(self, urn: str, olds: Properties, news: Properties) -> Properties:
        """Return the inputs as the provider has them; raises PluginError for what it finds wrong with them."""
        request = provider_pb2.CheckRequest(urn=urn, olds=_struct(olds), news=_struct(news))
        answer = self._stub.Check(request)
        if answer.failures:
            reasons = "; ".join(f"{failure.property} {failure.reason}".strip() for failure in answer.failures)
            raise PluginError(f"{urn}: {reasons}")
        return _plain(answer.inputs)

    def diff(
        self, urn: str, identity: str, inputs: Properties, outputs: Properties, news: Properties
    ) -> tuple[bool, bool]:
        """Return whether a resource differs, and whether that takes another one."""
        request = provider_pb2.DiffRequest(
            id=identity, urn=urn, old_inputs=_struct(inputs), olds=_struct(outputs), news=_struct(news)
        )
        answer = self._stub.Diff(request)
        if answer.changes == provider_pb2.DiffResponse.DIFF_UNKNOWN:
            raise PluginError(f"{urn}: the plugin doesn't say whether it differs; the double needs that")
        if answer.replaces and not answer.deleteBeforeReplace:
            raise PluginError(f"{urn}: to be replaced without deleting it first, which the double doesn't know")
        return answer.changes == provider_pb2.DiffResponse.DIFF_SOME, bool(answer.replaces)

    def create(self, urn: str, inputs: Properties, *, preview: bool) -> tuple[str, Properties]:
        answer = self._stub.Create(provider_pb2.CreateRequest(urn=urn, properties=_struct(inputs), preview=preview))
        return answer.id, _plain(answer.properties)

    def update(
        self, urn: str, identity: str, inputs: Properties, outputs: Properties, news: Properties, *, preview: bool
    ) -> Properties:
        request = provider_pb2.UpdateRequest(
            id=identity,
            urn=urn,
            old_inputs=_struct(inputs),
            olds=_struct(outputs),
            news=_struct(news),
            preview=preview,
        )
        return _plain(self._stub.Update(request).properties)

    def read(
        self, urn: str, identity: str, inputs: Properties, outputs: Properties
    ) -> tuple[str, Properties, Properties]:
        """Return a resource as the cloud has it, id, inputs and outputs: no id for one that is gone."""
        request = provider_pb2.ReadRequest(id=identity, urn=urn, inputs=_struct(inputs), properties=_struct(outputs))
        found = self._stub.Read(request)
        return found.id, _plain(found.inputs), _plain(found.properties)

    def delete(self, urn: str, identity: str, inputs: Properties, outputs: Properties) -> None:
        self._stub.Delete(
            provider_pb2.DeleteRequest(id=identity, urn=urn, old_inputs=_struct(inputs), properties=_struct(outputs))
        )

    def invoke(self, token: str, arguments: Properties, *, preview: bool) -> Properties:
        answer = self._stub.Invoke(provider_pb2.InvokeRequest(tok=token, args=_struct(arguments), preview=preview))
        return _plain(getattr(answer, "return"))

    def _configure(self, urn: str, config: Mapping[str, Any]) -> None:
        self._stub.Handshake(provider_pb2.ProviderHandshakeRequest(engine_address="127.0.0.1:1"))
        checked = self._stub.CheckConfig(provider_pb2.CheckRequest(urn=urn, news=_struct(config)))
        answer = self._stub.Configure(provider_pb2.ConfigureRequest(args=checked.inputs))
        if not answer.supportsPreview:
            raise PluginError(f"{urn}: the plugin can't preview, which the double doesn't know")


def _struct(properties: Mapping[str, Any]) -> Any:
    return json_format.ParseDict(dict(properties), struct_pb2.Struct())


def _plain(properties: Any) -> Properties:
    found: Properties = json_format.MessageToDict(properties)
    return found
