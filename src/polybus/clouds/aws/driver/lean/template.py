"""What botocore would send: asked of itself, once for each call and queue, and then kept to.

So whatever decides on the endpoint, the region that is signed for and the headers (the environment, profiles, FIPS,
dual-stack, partitions, an event handler) is honoured without being known here. A request of our own is made beside the
first of botocore's; where the two differ in anything, boto3 is left to make these calls.
"""

from __future__ import annotations

import json
import os
import re
import threading
import types
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import botocore.client
import botocore.endpoint
import botocore.httpsession

from polybus.clouds.aws.driver.lean import codec
from polybus.clouds.aws.driver.lean.http1 import Answer
from polybus.clouds.aws.driver.lean.sigv4 import Keys, Signer, stamp_of

__all__ = ["CannotHonour", "Template", "keys_of", "template"]

# What changes from one request to the next, or belongs to botocore's own retries.
_OWN = frozenset(
    {
        "amz-sdk-invocation-id",
        "amz-sdk-request",
        "authorization",
        "content-length",
        "host",
        "x-amz-date",
        "x-amz-security-token",
        "x-amzn-trace-id",
    }
)
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(.+)/\d{8}/([^/]+)/([^/]+)/aws4_request, SignedHeaders=([^,]+), "
    "Signature=[0-9a-f]{64}"
)
# What botocore leaves as it is in the header that tells of an invocation.
_TRACE = "-=;:+&[]{}\"',"
_TRIES = 3
_DEFAULT_PORTS = {"http": 80, "https": 443}
# Who traces or mocks boto3 does it here; such a process expects to see every call.
_PATCHED = (
    (botocore.client, "BaseClient", "_make_api_call"),
    (botocore.endpoint, "Endpoint", "make_request"),
    (botocore.endpoint, "Endpoint", "_send"),
    (botocore.httpsession, "URLLib3Session", "send"),
)


class CannotHonour(Exception):
    """Something about these calls is boto3's alone; the text says what."""


class _Captured(Exception):
    """A request that was about to be sent."""

    def __init__(self, request: Any) -> None:
        self.request = request
        super().__init__("captured")


class Template:
    """How to make the requests of one call to one address; `scope`: the region and service that are signed for."""

    def __init__(
        self, operation: str, url: str, headers: Mapping[str, str], scope: tuple[str, str], version: str
    ) -> None:
        parts = urlsplit(url)
        self.operation = operation
        self.url = url
        self.scheme = parts.scheme
        self.host = parts.hostname or ""
        self.port = parts.port or _DEFAULT_PORTS[parts.scheme]
        self.type = headers["Content-Type"]
        self._version = version
        kept = {name: value for name, value in headers.items() if name.lower() not in _OWN}
        fixed = {"Host": _host(url), **kept}
        self._signer = Signer("POST", url, fixed.items(), *scope)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._fixed = "".join(
            f"{name}: {value}\r\n" for name, value in {**fixed, "Accept-Encoding": "identity"}.items()
        )
        self._read = codec.PROTOCOLS[self.type][1]

    @property
    def protocol(self) -> str:
        """Botocore's name of the protocol."""
        return codec.PROTOCOLS[self.type][0]

    def encode(self, arguments: codec.Arguments) -> bytes:
        """Return the body of a request."""
        if self.type == codec.JSON:
            return codec.encode_json(arguments)
        return codec.encode_form(self.operation, self._version, arguments)

    def decode(self, answer: Answer) -> dict[str, Any]:
        """Return what an answer says that the call was done; raise codec.Unreadable where it is something else."""
        return self._read(answer)

    def request(self, body: bytes, keys: Keys, now: float, *, proxy_authorization: str | None = None) -> bytes:
        """Return a signed request as it is sent; through a proxy of plain HTTP, with the whole address.

        `now` is in seconds since the epoch.
        """
        stamp = stamp_of(now)
        target, more = self._target, ""
        if proxy_authorization is not None:
            target = f"{self.scheme}://{_host(self.url)}{target}"
            more = f"Proxy-Authorization: {proxy_authorization}\r\n" if proxy_authorization else ""
        if keys.token:
            more += f"X-Amz-Security-Token: {keys.token}\r\n"
        head = (
            f"POST {target} HTTP/1.1\r\n{self._fixed}{more}{_trace()}X-Amz-Date: {stamp}\r\n"
            f"Authorization: {self._signer.authorization(keys, stamp, body)}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode("latin-1") + body


def _trace() -> str:
    """Return the header that tells of the invocation, where this is a function: it is another one in each."""
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:
        return ""
    trace = os.environ.get("_X_AMZN_TRACE_ID")
    return f"X-Amzn-Trace-Id: {quote(trace, safe=_TRACE)}\r\n" if trace else ""


def template(client: Any, operation: str, arguments: Mapping[str, Any], credentials: Any) -> Template:
    """Return how botocore's client makes a call, which is not made; raise CannotHonour where that can't be kept to.

    `credentials` are those that the client signs with. Blocks for about as long as one call's preparation in botocore.
    """
    _check_patched()
    for _ in range(_TRIES):
        keys = keys_of(credentials)
        request = _capture(client, operation, arguments)
        captured = _Request(operation, request)
        if captured.token == keys.token and captured.access_key == keys.access_key:
            return _template(operation, captured, arguments, keys)
        # They were renewed in between.
    if not hasattr(credentials, "refresh_needed"):
        raise CannotHonour(f"{operation} is signed by other credentials than those that boto3 shows")
    # Near their end botocore asks for others at each look, so nobody can say what this one was signed with.
    return _template(operation, captured, arguments, None)


def keys_of(credentials: Any) -> Keys:
    """Return credentials as they are now; blocks where they have to be renewed."""
    frozen = credentials.get_frozen_credentials()
    return Keys(frozen.access_key, frozen.secret_key, frozen.token)


class _Request:
    """What botocore would send, in parts; raises CannotHonour where it isn't signed by Signature Version 4."""

    def __init__(self, operation: str, request: Any) -> None:
        headers = {name: _text(value) for name, value in request.headers.items()}
        self.method: str = request.method
        self.url: str = request.url
        self.headers = headers
        self.body: bytes = request.body if isinstance(request.body, bytes) else str(request.body or "").encode()
        self.authorization = headers.get("Authorization", "")
        self.stamp = headers.get("X-Amz-Date", "")
        self.token = headers.get("X-Amz-Security-Token")
        found = _SIGNED.fullmatch(self.authorization)
        if found is None:
            raise CannotHonour(f"{operation} isn't signed by Signature Version 4")
        self.access_key, self.region, self.service, names = found.groups()
        self.signed = frozenset(names.split(";"))


def _template(operation: str, request: _Request, arguments: Mapping[str, Any], keys: Keys | None) -> Template:
    if request.method != "POST" or request.headers.get("Content-Type") not in codec.PROTOCOLS:
        raise CannotHonour(f"{operation} isn't a POST of {' or '.join(codec.PROTOCOLS)}")
    if urlsplit(request.url).scheme not in _DEFAULT_PORTS:
        raise CannotHonour(f"the endpoint {request.url} is no URL of HTTP")
    headers = {"Host": _host(request.url), **request.headers}
    signed = [(name, value) for name, value in headers.items() if name.lower() in request.signed]
    signer = Signer("POST", request.url, signed, request.region, request.service)
    if keys is not None and signer.authorization(keys, request.stamp, request.body) != request.authorization:
        raise CannotHonour(f"{operation} is signed in another way")
    scope = (request.region, request.service)
    found = Template(operation, request.url, request.headers, scope, _version(request.body))
    if _meaning(found.type, found.encode(arguments)) != _meaning(found.type, request.body):
        raise CannotHonour(f"something changes what {operation} is called with")
    return found


def _host(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return host if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme)) else f"{host}:{parts.port}"


def _check_patched() -> None:
    for module, owner, name in _PATCHED:
        function = vars(getattr(module, owner)).get(name)
        if function is None:
            continue  # another version's: its own calls show what matters
        # botocore decorates some of its own.
        if type(function) is not types.FunctionType or not function.__globals__["__name__"].startswith("botocore."):
            raise CannotHonour(f"something in this process has replaced botocore's {owner}.{name}")


def _capture(client: Any, operation: str, arguments: Mapping[str, Any]) -> Any:
    """Return the request that botocore would send now."""
    service = client.meta.service_model.service_id.hyphenize()
    event = f"before-send.{service}.{operation}"
    here = threading.get_ident()

    def keep(request: Any, **_: Any) -> None:
        if threading.get_ident() == here:  # another thread's call goes its way
            raise _Captured(request)

    events = client.meta.events
    try:
        others = events.emit(event, request=types.SimpleNamespace(method="GET", url="", headers={}, body=b""))
    except Exception as error:
        raise CannotHonour(f"something answers botocore's requests in place of AWS ({error})") from error
    if others:
        raise CannotHonour("something looks at botocore's requests before they are sent, and may answer them")
    events.register_last(event, keep)
    try:
        getattr(client, _method(client, operation))(**arguments)
    except _Captured as captured:
        return captured.request
    finally:
        events.unregister(event, keep)
    raise CannotHonour("botocore answers without sending anything")


def _method(client: Any, operation: str) -> str:
    methods: Mapping[str, str] = client.meta.method_to_api_mapping
    return next(name for name, each in methods.items() if each == operation)


def _version(body: bytes) -> str:
    return dict(parse_qsl(body.decode("latin-1"))).get("Version", "") if body.startswith(b"Action=") else ""


def _meaning(kind: str, body: bytes) -> Any:
    """Return what a body says, however it is written."""
    if kind == codec.JSON:
        return json.loads(body)
    return sorted(parse_qsl(body.decode("ascii"), keep_blank_values=True))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
