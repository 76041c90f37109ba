"""A stand-in for a cloud's Pulumi provider, in the protocol of one (pulumirpc.ResourceProvider).

It makes what it is asked for on the cloud's local server, and keeps a record of what that has nothing for: such a
resource is there while Pulumi's state has it. It knows which properties of the types that polybus plans take another
resource (`polybus.plan.planning`); their names are explicit, so it always asks to delete first. It knows no defaults,
autonaming, or secrets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from polybus.provision.laptop.cloud import Laptop, Stand
from polybus.provision.laptop.differences import Properties, changed, forces, refused, takes
from polybus.provision.laptop.seen import as_given

__all__ = ["LocalProvider"]


class LocalProvider(provider_pb2_grpc.ResourceProviderServicer):
    """One package's provider; `cancelled` is set once the engine needs it no more."""

    def __init__(self, laptop: Laptop) -> None:
        self._laptop = laptop
        self._package = laptop.package
        self._stand: Stand | None = None
        self._configured: Properties = {}
        self.cancelled = threading.Event()

    # -- about itself

    def Handshake(self, request: Any, context: Any) -> Any:
        return provider_pb2.ProviderHandshakeResponse()  # neither secrets, resources nor outputs: plain values

    def Attach(self, request: Any, context: Any) -> Any:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        try:
            return plugin_pb2.PluginInfo(version=version(f"pulumi-{self._package}"))
        except PackageNotFoundError:  # of a stack whose program is in another language, or in another environment
            return plugin_pb2.PluginInfo()

    def GetSchema(self, request: Any, context: Any) -> Any:
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "{self._package}"}}')

    def Cancel(self, request: Any, context: Any) -> Any:
        self.cancelled.set()
        return empty_pb2.Empty()

    # -- its configuration

    def CheckConfig(self, request: Any, context: Any) -> Any:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return _difference(changed(_read(request.old_inputs), _read(request.news)), ())

    def Configure(self, request: Any, context: Any) -> Any:
        self._configured = _read(request.args)
        self._stand = self._laptop.connect(self._configured)
        return provider_pb2.ConfigureResponse(supportsPreview=True)

    # -- resources

    def Check(self, request: Any, context: Any) -> Any:
        wrong = refused(_type(request.urn), _read(request.news))
        failures = [provider_pb2.CheckFailure(property=property_, reason=reason) for property_, reason in wrong]
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        type_, old, new = _type(request.urn), _read(request.old_inputs), _read(request.news)
        differing = changed(old, new)
        forcing = [key for key in differing if forces(type_, key, old, new, self._configured)]
        return _difference(differing, forcing)

    def Create(self, request: Any, context: Any) -> Any:
        type_, inputs = _type(request.urn), _read(request.properties)
        if request.preview:  # nothing is made; what only the cloud can say isn't known yet
            return provider_pb2.CreateResponse(properties=request.properties)
        made = self._asked(context, type_, lambda stand: self._make(stand, type_, _name(request.urn), inputs))
        return provider_pb2.CreateResponse(id=made.pop("id"), properties=_written({**inputs, **made}))

    def Update(self, request: Any, context: Any) -> Any:
        type_, inputs = _type(request.urn), _read(request.news)
        kept = {key: value for key, value in _read(request.olds).items() if key not in _read(request.old_inputs)}
        if request.preview:
            return provider_pb2.UpdateResponse(properties=_written({**kept, **inputs}))
        made = self._asked(context, type_, lambda stand: self._make(stand, type_, _name(request.urn), inputs))
        if made.pop("id") != request.id:
            context.abort(grpc.StatusCode.INTERNAL, f"{request.urn}: an update made another one of {request.id}")
        return provider_pb2.UpdateResponse(properties=_written({**inputs, **made}))

    def Read(self, request: Any, context: Any) -> Any:
        type_, made, inputs = _type(request.urn), _read(request.properties), _read(request.inputs)
        found = self._asked(context, type_, lambda stand: stand.read(type_, request.id, made))
        if found is None:
            return provider_pb2.ReadResponse()  # no id: it is gone
        identity = found.pop("id", request.id)
        # What the server doesn't say stays; what it has beside what was asked for is its own default.
        seen = {key: as_given(inputs.get(key), value) for key, value in found.items() if key in made or not made}
        # Of what is imported, what is set at all and can be set; the rest would be the server's default.
        kept = {key: value for key, value in seen.items() if (key in inputs if made else value and takes(type_, key))}
        return provider_pb2.ReadResponse(
            id=identity, properties=_written(_set({**made, **seen})), inputs=_written(_set({**inputs, **kept}))
        )

    def Delete(self, request: Any, context: Any) -> Any:
        type_, made = _type(request.urn), _read(request.properties)
        self._asked(context, type_, lambda stand: stand.remove(type_, made))
        return empty_pb2.Empty()

    def Invoke(self, request: Any, context: Any) -> Any:
        found = self._asked(context, request.tok, lambda stand: stand.make(request.tok, "", _read(request.args)))
        return provider_pb2.InvokeResponse(**{"return": _written(found)})

    def _make(self, stand: Stand, type_: str, name: str, inputs: Properties) -> Properties:
        """Make a resource, or record it."""
        made = stand.make if self._laptop.served(type_, inputs) else stand.record
        return made(type_, name, inputs)

    def _asked(self, context: Any, what: str, call: Callable[[Stand], Any]) -> Any:
        """Ask the local server; what it refuses, in whatever way its client has, is the engine's to report."""
        try:
            if self._stand is None:
                raise RuntimeError("Configure was not called")
            return call(self._stand)
        except KeyError as error:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, f"{what}: the local {self._package} has nothing for {error}")
        except Exception as error:  # noqa: BLE001 - any client's, and all of it is handed on
            context.abort(grpc.StatusCode.UNKNOWN, f"{what}: {type(error).__name__}: {error}")


def _difference(differing: Iterable[str], replaces: Iterable[str]) -> Any:
    diffs, forced = list(differing), list(replaces)
    kind = provider_pb2.DiffResponse.DIFF_SOME if diffs else provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(changes=kind, diffs=diffs, replaces=forced, deleteBeforeReplace=bool(forced))


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
