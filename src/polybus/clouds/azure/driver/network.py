"""The way to Service Bus: what the environment and the binding's settings say of it."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

import certifi
from azure.servicebus import TransportType

from polybus.errors import BindingError

__all__ = ["CA_FILE", "CONNECTION_STRING", "Network", "connection_string"]

CONNECTION_STRING = "AZURE_SERVICEBUS_CONNECTION_STRING"
# The certificate of a local server's management API.
CA_FILE = "AZURE_SERVICEBUS_CA_FILE"
TRANSPORTS = {"amqp": TransportType.Amqp, "websocket": TransportType.AmqpOverWebsocket}
PROXY_PORT = 8080


def connection_string(environ: Mapping[str, str]) -> str | None:
    """Return a local server's connection string from the environment, or None where there is none.

    Raises BindingError for one of a real namespace: those are reached by identities, never by keys.
    """
    text = environ.get(CONNECTION_STRING)
    if not text:
        return None
    parts = {
        name.strip().lower(): value.strip() for name, _, value in (part.partition("=") for part in text.split(";"))
    }
    if parts.get("usedevelopmentemulator", "").lower() != "true":
        raise BindingError(
            f"{CONNECTION_STRING}: it doesn't say UseDevelopmentEmulator=true, so it is a real namespace's; polybus "
            "reaches those with DefaultAzureCredential and keeps no keys: unset it"
        )
    return text


class Network:
    """What both clients are given to find their way: the AMQP one, and that of the management API.

    The settings: `transport` is "amqp" (port 5671, what there is by default) or "websocket" (port 443), `proxy` an
    HTTP proxy's URL, through which only WebSockets go, and `ca_file` the certificates of an authority of one's own.
    A local server is reached directly, whatever the settings and the environment say of proxies.
    """

    def __init__(self, settings: Mapping[str, Any], *, local: bool) -> None:
        self._local = local
        self._ca_file = os.environ.get(CA_FILE) if local else _text(settings, "ca_file")
        self._proxy = None if local else _text(settings, "proxy")
        transport = _text(settings, "transport") or "amqp"
        if transport not in TRANSPORTS:
            raise BindingError(f"settings.transport: {transport!r}; allowed: {', '.join(sorted(TRANSPORTS))}")
        self._transport = TRANSPORTS[transport]
        self._http_proxy = None if self._proxy is None else _proxy(self._proxy)

    @property
    def turns(self) -> bool:
        """Whether how long a read of the socket takes is ours to choose: WebSockets connect in that time too."""
        return self._local or (self._transport is TransportType.Amqp and self._http_proxy is None)

    def amqp(self) -> dict[str, Any]:
        """Return options of ServiceBusClient; raise BindingError where the file of certificates isn't there."""
        # One for all links: the library reads the certificates of every authority anew for each, which takes 50 ms, and
        # for a local server's, which has no TLS, too.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        options: dict[str, Any] = {"ssl_context": context}
        if self._local:
            return options
        if self._ca_file is not None:
            _found(self._ca_file, self._local)
        context.load_verify_locations(self._ca_file or certifi.where())
        options["transport_type"] = self._transport
        if self._transport is TransportType.AmqpOverWebsocket or self._http_proxy is not None:
            _close_sessions()
        if self._http_proxy is not None:
            options["http_proxy"] = self._http_proxy
        return options

    def management(self) -> dict[str, Any]:
        """Return options of ServiceBusAdministrationClient, which takes a transport since 7.15.

        Raises BindingError where the file of certificates isn't there: as it is read with the first request, that
        would look like a namespace which can't be reached.
        """
        from azure.core.pipeline.transport import AioHttpTransport

        options: dict[str, Any] = {}
        if self._ca_file is not None:
            _found(self._ca_file, self._local)
            options["connection_verify"] = self._ca_file
        # By default it takes proxies from the environment, for a loopback address too.
        transport = AioHttpTransport(use_env_settings=not self._local, **options)
        given: dict[str, Any] = {"transport": transport}
        if self._proxy is not None:
            given["proxies"] = {"https": self._proxy}
        return given


def _close_sessions() -> None:
    """Have the library close the HTTP session of a WebSocket that didn't open, or that failed as it was closed.

    It leaves these to the garbage collector. Where it keeps its transports elsewhere, nothing is changed.
    """
    try:
        from azure.servicebus._pyamqp.aio import _transport_async
    except ImportError:
        return
    kind: Any = _transport_async.WebSocketTransportAsync
    if getattr(kind.connect, "closes_sessions", False):
        return
    connect, close = kind.connect, kind.close

    async def end(transport: Any) -> None:
        session = getattr(transport, "session", None)
        if session is not None:
            await session.close()

    async def connecting(transport: Any) -> None:
        try:
            await connect(transport)
        except BaseException:
            await end(transport)
            raise

    async def closing(transport: Any) -> None:
        try:
            await close(transport)
        finally:
            await end(transport)

    vars(connecting)["closes_sessions"] = True
    kind.connect, kind.close = connecting, closing


def _text(settings: Mapping[str, Any], name: str) -> str | None:
    value = settings.get(name)
    if value is not None and not isinstance(value, str):
        raise BindingError(f"settings.{name}: {value!r} is {type(value).__name__}, not text")
    return value or None


def _proxy(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise BindingError("settings.proxy: it isn't a URL such as http://proxy.example.com:3128")
    # With its scheme: the library puts the port behind it and gives that to aiohttp, which takes nothing but URLs.
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    found: dict[str, Any] = {"proxy_hostname": f"{parts.scheme}://{host}", "proxy_port": port or PROXY_PORT}
    if parts.username is not None:
        found |= {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    return found


def _found(ca_file: str, local: bool) -> None:
    if os.path.isfile(ca_file):
        return
    if local:
        raise BindingError(
            f"{CA_FILE}: {ca_file}: No such file or directory; it is a local server's, which has ended: "
            "`polybus local up --cloud azure`, and then `polybus local env` anew"
        )
    raise BindingError(f"settings.ca_file: {ca_file}: No such file or directory")
