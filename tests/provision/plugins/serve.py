"""A local provider plugin for Pulumi: `serve.py aws|azure-native|gcp`. It is not the cloud's own provider.

It speaks the protocol of a resource provider (pulumirpc.ResourceProvider), as the CLI and this project's double of the
engine both ask it, and realises what it is asked for on the cloud's local server. It knows the types that polybus
plans, and which of their properties force a replacement (`polybus.plan.immutable`); names are explicit, so it always
asks to delete first. It knows no defaults, autonaming, secrets, or ranges of values.

Like every plugin it prints the port that it serves on as its first line; the engine's address, its last argument,
isn't needed.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc
from pulumi.runtime.rpc import UNKNOWN
from seen import as_given

from clouds import PACKAGES, Cloud, connect  # neighbours: this file is run as a script
from polybus.plan.immutable import immutable

Properties = dict[str, Any]


class LocalProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One package's provider."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._connected: Cloud | None = None
        self.cancelled = threading.Event()

    # -- about itself

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()  # neither secrets, resources nor outputs: plain values

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=version(f"pulumi-{self._package}"))

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "{self._package}"}}')

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancelled.set()
        return empty_pb2.Empty()

    # -- its configuration

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return _difference(_changed(_read(request.old_inputs), _read(request.news)), ())

    def Configure(self, request: Any, context: Any) -> Any:
        self._connected = connect(self._package, _read(request.args))
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    # -- resources

    def Check(self, request: Any, context: Any) -> Any:
        type_ = _type(request.urn)
        try:
            fixed = _fixed(type_)
        except KeyError:
            failure = provider_pb2.CheckFailure(reason=f"the local {self._package} plugin has no {type_}")
            return provider_pb2.CheckResponse(inputs=request.news, failures=[failure])
        failures = []
        if "name" in fixed and "name" not in request.news.fields:  # a provider would make one up
            failures = [provider_pb2.CheckFailure(property="name", reason="it needs an explicit name")]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        type_, old, new = _type(request.urn), _read(request.old_inputs), _read(request.news)
        changed = _changed(old, new)
        return _difference(changed, [key for key in changed if _forces(type_, key, old, new)])

    def Create(self, request: Any, context: Any) -> Any:
        type_, inputs = _type(request.urn), _read(request.properties)
        if request.preview:  # nothing is made; what only the cloud can say isn't known yet
            return provider_pb2.CreateResponse(properties=request.properties)
        if _name(request.urn) in _refused():
            context.abort(grpc.StatusCode.UNKNOWN, f"{_name(request.urn)}: refused, as the test wants it")
        made = self._asked(context, type_, lambda cloud: cloud.make(type_, _name(request.urn), inputs))
        return provider_pb2.CreateResponse(id=made.pop("id"), properties=_written({**inputs, **made}))

    def Update(self, request: Any, context: Any) -> Any:
        type_, inputs = _type(request.urn), _read(request.news)
        kept = {key: value for key, value in _read(request.olds).items() if key not in _read(request.old_inputs)}
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_written({**kept, **inputs}))
        made = self._asked(context, type_, lambda cloud: cloud.make(type_, _name(request.urn), inputs))
        if made.pop("id") != request.id:
            context.abort(grpc.StatusCode.INTERNAL, f"{request.urn}: an update made another one of {request.id}")
        return provider_pb2.UpdateResponse(properties=_written({**inputs, **made}))

    def Read(self, request: Any, context: Any) -> Any:
        type_, made, inputs = _type(request.urn), _read(request.properties), _read(request.inputs)
        found = self._asked(context, type_, lambda cloud: cloud.read(type_, request.id, made))
        if found is None:
            return provider_pb2.ReadResponse()  # no id: it is gone
        # What the server doesn't say stays; what it has beside what was asked for is its own default.
        seen = {key: as_given(inputs.get(key), value) for key, value in found.items() if key in made or not made}
        # Of what is imported, what is set at all and can be set; the rest would be the server's default.
        kept = {key: value for key, value in seen.items() if (key in inputs if made else value and _takes(type_, key))}
        return provider_pb2.ReadResponse(
            id=request.id, properties=_written(_set({**made, **seen})), inputs=_written(_set({**inputs, **kept}))
        )

    def Delete(self, request: Any, context: Any) -> Any:
        type_, made = _type(request.urn), _read(request.properties)
        self._asked(context, type_, lambda cloud: cloud.remove(type_, made))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        found = self._asked(context, request.tok, lambda cloud: cloud.make(request.tok, "", _read(request.args)))
        return provider_pb2.InvokeResponse(**{"return": _written(found)})

    def _asked(self, context: Any, what: str, call: Callable[[Cloud], Any]) -> Any:
        """Ask the local server; what it refuses, in whatever way its client has, is the engine's to report."""
        try:
            assert self._connected is not None, "Configure was not called"
            return call(self._connected)
        except Exception as error:  # noqa: BLE001 - any client's, and all of it is handed on
            context.abort(grpc.StatusCode.UNKNOWN, f"{what}: {type(error).__name__}: {error}")


def _refused() -> list[str]:
    """List the resources that are to be refused, by the file that a test may write."""
    path = Path(os.environ.get("POLYBUS_PLUGIN_REFUSES", os.devnull))
    return path.read_text().split() if path.exists() else []


def _difference(changed: Iterable[str], replaces: Iterable[str]) -> Any:
    diffs, forced = list(changed), list(replaces)
    kind = provider_pb2.DiffResponse.DIFF_SOME if diffs else provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(changes=kind, diffs=diffs, replaces=forced, deleteBeforeReplace=bool(forced))


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """List the properties that differ; one that isn't known yet does."""
    return [key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key) or _unknown(new.get(key))]


def _unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(_unknown(item) for item in value)
    return bool(value == UNKNOWN)


def _forces(type_: str, key: str, old: Properties, new: Properties) -> bool:
    if type_ == "azure-native:servicebus:Namespace" and key == "sku":
        return bool((old["sku"]["name"] == "Premium") != (new["sku"]["name"] == "Premium"))
    return key in _fixed(type_)


def _fixed(type_: str) -> frozenset[str]:
    """Give the properties that force a replacement, by the engine's names; raises KeyError for a type without any."""
    return frozenset(re.sub(r"_([a-z0-9])", lambda found: found[1].upper(), name) for name in immutable(type_))


def _takes(type_: str, key: str) -> bool:
    """Say whether a property, by the engine's name, is one that the provider's SDK can be given."""
    from polybus.provision.cloud import cloud_named

    package = type_.split(":", maxsplit=1)[0].removesuffix("-native")
    made = cloud_named(package).sdk.resource(type_)
    return _snake(key) in signature(made._internal_init).parameters


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: f"_{found[1].lower()}", name)


def _type(urn: str) -> str:
    return urn.split("::")[2].rpartition("$")[2]


def _name(urn: str) -> str:
    return urn.split("::", 3)[3]


def _read(properties: Any) -> Properties:
    found: Properties = json_format.MessageToDict(properties)
    return found


def _set(properties: Mapping[str, Any]) -> Properties:
    return {key: value for key, value in properties.items() if value is not None}


def _written(properties: Mapping[str, Any]) -> Any:
    return json_format.ParseDict(dict(properties), struct_pb2.Struct())


def main(package: str) -> int:
    if package not in PACKAGES:
        print(f"found {package!r}; allowed: {', '.join(PACKAGES)}", file=sys.stderr)
        return 2
    provider = LocalProvider(package)
    server = grpc.server(ThreadPoolExecutor(8, thread_name_prefix=f"plugin-{package}"))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    provider.cancelled.wait()
    server.stop(1).wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
