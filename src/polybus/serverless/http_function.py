"""An app's handlers as an ASGI application, for Pub/Sub's push requests and SNS's HTTPS deliveries."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, MutableMapping
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polybus.app import App
from polybus.binding import Binding
from polybus.clock import Clock, wait_for
from polybus.driver import Received
from polybus.errors import ConfigError, PolybusError
from polybus.serverless.aws_event import sns_message
from polybus.serverless.failure import Unverified
from polybus.serverless.fetch import Fetch, Unreachable, fetch
from polybus.serverless.google_push import Malformed, read_push
from polybus.serverless.google_tokens import GoogleTokens
from polybus.serverless.host import Host
from polybus.serverless.inlet import Verdict
from polybus.serverless.routes import Match, Router, from_subscription, from_topic
from polybus.serverless.sns_https import SnsDoor, VerifySns
from polybus.serverless.sns_signature import SnsSignatures

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["CloudRun", "VerifyToken", "cloud_run"]

_log = logging.getLogger("polybus.serverless")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
VerifyToken = Callable[[str], None]

# Bytes that a request may have: Pub/Sub's largest message, 10 MB (its quotas), in base64, and room for attributes.
MOST_BYTES = 16 * 1024 * 1024
# The same of SNS, whose sender is only known by what is read: its largest message over HTTPS, 256 KiB (its quotas), of
# which JSON may write each byte in six, and its other fields.
MOST_SNS_BYTES = 2 * 1024 * 1024
# Seconds within which a request's body must have come. Both clouds send it at once, and wait for the answer 10 s or
# more; without a limit, senders that never end would hold connections for ever.
READ_WAIT = 10.0
# Seconds that SNS waits for an answer before it tries again (its developer guide: 15 s); one less, so that the handler
# is told, and the answer of a handler that was slow isn't an ack that nobody hears.
SNS_WAIT = 14.0

# What is answered. 2xx acks on both clouds, and Pub/Sub delivers again after anything else. SNS delivers again after
# 5xx alone, and then uses the subscription's dead letters; what it does after 4xx its developer guide doesn't promise
# ("any status outside of 200 to 4xx" fails), so nothing that may be SNS's own is answered with one: it could be lost.
_OF_GOOGLE = {
    Verdict.DONE: HTTPStatus.NO_CONTENT,
    Verdict.AGAIN: HTTPStatus.SERVICE_UNAVAILABLE,
    Verdict.REFUSED: HTTPStatus.UNPROCESSABLE_ENTITY,
}


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, why: str) -> None:
        self.status = status
        super().__init__(why)


class CloudRun:
    """An ASGI 3 application; every path answers POST.

    The app is opened by the server's lifespan start-up, or else by the first request, and closed by its shutdown.
    """

    def __init__(self, host: Host, router: Router, verify: VerifyToken | None, sns: SnsDoor | None) -> None:
        self._host = host
        self._router = router
        self._verify = verify
        self._sns = sns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            status = await self._answer(scope, receive)
            headers = [(b"content-length", b"0")] if status is not HTTPStatus.NO_CONTENT else []
            await send({"type": "http.response.start", "status": int(status), "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            raise ConfigError(f"{scope['type']!r} connections are not served: this answers POST alone")

    async def close(self) -> None:
        """Let handlers finish, end the app's lifespan and close its bus."""
        await self._host.close()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] != "lifespan.shutdown":
            if message["type"] == "lifespan.startup":
                try:
                    await self._host.open()
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    raise
                await send({"type": "lifespan.startup.complete"})
        await self.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive) -> HTTPStatus:
        if scope["method"] != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED
        headers = {name.decode("latin-1").lower(): _header(value) for name, value in scope["headers"]}
        of_sns = "x-amz-sns-message-type" in headers
        try:
            return await (self._from_sns if of_sns else self._from_google)(headers, receive)
        except _Refused as refused:
            _log.error("refused a request: %s", refused)
            return HTTPStatus.SERVICE_UNAVAILABLE if of_sns else refused.status
        except (Unverified, Malformed) as error:
            _log.error("refused a request: %s", error)
            if of_sns:
                return HTTPStatus.SERVICE_UNAVAILABLE
            return HTTPStatus.FORBIDDEN if isinstance(error, Unverified) else HTTPStatus.BAD_REQUEST
        except Unreachable as error:
            _log.error("can't tell now whether a request is genuine: %s", error)
            return HTTPStatus.SERVICE_UNAVAILABLE
        except PolybusError as error:
            # Of ours, and said in the log alone: who posts here must not read it. 5xx: it comes again.
            _log.error("a request can't be handled: %s", error)
            return HTTPStatus.INTERNAL_SERVER_ERROR

    async def _from_google(self, headers: Mapping[str, str], receive: Receive) -> HTTPStatus:
        if self._verify is None:
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                "Google's push requests are not accepted before cloud_run is told their audience and service_account",
            )
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise _Refused(HTTPStatus.UNAUTHORIZED, "no bearer token: is the subscription's push config without OIDC?")
        await asyncio.to_thread(self._verify, token.strip())
        push = read_push(headers, await self._read(headers, receive, MOST_BYTES))
        source = self._source(push.subscription, from_subscription(push.subscription))
        return _OF_GOOGLE[await self._deliver(source, push.received)]

    async def _from_sns(self, headers: Mapping[str, str], receive: Receive) -> HTTPStatus:
        if self._sns is None:
            raise _Refused(
                HTTPStatus.FORBIDDEN,
                "SNS's deliveries are not accepted: the binding has no push subscription that the app handles, and "
                "cloud_run was given no topics",
            )
        notification = await self._sns.admit(headers, await self._read(headers, receive, MOST_SNS_BYTES))
        if notification is None:
            return HTTPStatus.OK
        source = self._source(notification["TopicArn"], from_topic(notification["TopicArn"]))
        verdict = await self._deliver(source, lambda entity, until: sns_message(notification, entity, until), SNS_WAIT)
        return HTTPStatus.OK if verdict is Verdict.DONE else HTTPStatus.SERVICE_UNAVAILABLE

    async def _read(self, headers: Mapping[str, str], receive: Receive, most: int) -> bytes:
        try:
            return await wait_for(self._host.clock, _body(headers, receive, most), READ_WAIT)
        except TimeoutError:
            why = f"its body didn't come within {READ_WAIT:g} s"
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, why) from None

    def _source(self, address: str, match: Match) -> str:
        return self._router.find(address, match) if address else self._router.only()

    async def _deliver(
        self, source: str, received: Callable[[Any, float], Received[Any]], wait: float | None = None
    ) -> Verdict:
        bus = await self._host.open()
        inlet = bus.inlets[source]
        lease = inlet.source.lease if wait is None else wait
        until = self._host.clock.monotonic() + lease
        try:
            one = received(inlet.source, until)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            # Of SNS's, the attributes aren't signed: what is in them may be anyone's.
            raise Malformed(f"what {inlet.source.name!r} delivers can't be read: {error!r}") from error
        return await inlet.deliver(one)


def _header(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def _body(headers: Mapping[str, str], receive: Receive, most: int) -> bytes:
    too_large = _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"over {most} bytes")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > len(str(most)) or int(declared) > most):
        raise too_large
    parts = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(HTTPStatus.BAD_REQUEST, "the request ended before its body did")
        parts += message.get("body", b"")
        if len(parts) > most:
            raise too_large
        if not message.get("more_body", False):
            return bytes(parts)


def cloud_run(
    app: App,
    source: Binding | Topology | Path | str | None = None,
    *,
    handles: str | None = None,
    audience: str | Collection[str] | None = None,
    service_account: str | Collection[str] | None = None,
    verify: VerifyToken | None = None,
    topics: Collection[str] = (),
    verify_sns: VerifySns | None = None,
    fetch: Fetch = fetch,
    clock: Clock | None = None,
) -> CloudRun:
    """Return an ASGI application that runs an app's handlers for what Pub/Sub and SNS post to it.

    `source` is the binding as in `polybus.connect` (default: the app's own, then POLYBUS_BINDING). The handler is found
    by the subscription or topic that the request names; `handles` names it for all requests instead.

    Google's requests must bear a token of Google's for one of `audience` and one of `service_account`, as in the push
    config; `verify` replaces that check, and raises Unverified to refuse. SNS's must be signed by SNS (`verify_sns`
    replaces that check) and come from a topic whose push subscription the app handles, or from one of `topics` (ARNs);
    subscriptions of these topics are confirmed. Nothing else is handled.

    An acked message is answered with 2xx, any other with an error, after which the cloud delivers again. `fetch` gets
    SNS's certificates and confirms. Raises ConfigError for a binding that is missing or wrong, and for one of audience
    and service_account without the other; MissingExtra where google-auth or cryptography is needed and not installed.
    """
    host = Host(app, source, clock)
    router = Router(app, host.binding, handles)
    if verify is None and (audience is not None or service_account is not None):
        verify = GoogleTokens(audience or (), service_account or ())
    allowed = {*topics, *(router.topics() if host.binding.backend == "aws" else ())}
    door = None
    if allowed:
        checked = verify_sns if verify_sns is not None else SnsSignatures(fetch=fetch, clock=host.clock)
        door = SnsDoor(allowed, checked, fetch, host.clock)
    return CloudRun(host, router, verify, door)
