"""Google's credentials on a connection, and what became of them where a call failed for their sake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import google.auth
import google.auth.credentials
import grpc
from google.auth.transport.grpc import AuthMetadataPlugin, SslCredentials
from google.auth.transport.requests import Request
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from polybus.errors import BindingError

__all__ = ["Watch", "channel_credentials", "find"]


def find() -> Any:
    """Find the application default credentials; blocks."""
    credentials, _ = google.auth.default(scopes=SubscriberGrpcAsyncIOTransport.AUTH_SCOPES)
    return credentials


class Watch(grpc.AuthMetadataPlugin):
    """Puts credentials on calls, and remembers why it couldn't.

    gRPC reports that as UNAVAILABLE, as it reports a server that is away: only the error itself, by its type, tells a
    key that was deleted from a token server that doesn't answer. `failures` counts them, `error` is the last one while
    nothing has succeeded since.
    """

    def __init__(self) -> None:
        self.failures = 0
        self.error: Exception | None = None
        self._plugin: AuthMetadataPlugin | None = None

    def use(self, plugin: AuthMetadataPlugin) -> None:
        """Take the library's plugin, which knows how each kind of credentials is put on a call."""
        self._plugin = plugin

    def __call__(self, context: Any, callback: Callable[[Any, Exception | None], None]) -> None:
        """Answer gRPC, on a thread of its own."""
        assert self._plugin is not None  # noqa: S101 - a channel is made with it
        headers: list[Any] = []
        try:
            self._plugin(context, lambda found, error: headers.extend(found or ()))
        except Exception as error:  # noqa: BLE001 - told by gRPC's status, and by ours
            self.error = error
            self.failures += 1
            callback((), error)
            return
        self.error = None
        callback(tuple(headers), None)

    def since(self, failures: int) -> Exception | None:
        """Return why credentials failed after `failures` was read, and still do."""
        return self.error if self.failures > failures else None


def channel_credentials(
    credentials: Any, watch: Watch, *, scopes: Any, default_scopes: Any, host: str, ssl: Any, quota: str | None
) -> grpc.ChannelCredentials:
    """Return TLS with credentials on each call, as the library's own channels have them."""
    credentials = google.auth.credentials.with_scopes_if_required(  # type: ignore[no-untyped-call]
        credentials, scopes=scopes, default_scopes=default_scopes
    )
    if quota and isinstance(credentials, google.auth.credentials.CredentialsWithQuotaProject):
        credentials = credentials.with_quota_project(quota)  # type: ignore[no-untyped-call]
    watch.use(AuthMetadataPlugin(credentials, Request(), default_host=host))  # type: ignore[no-untyped-call]
    tls = ssl or SslCredentials().ssl_credentials  # type: ignore[no-untyped-call]
    return grpc.composite_channel_credentials(tls, grpc.metadata_call_credentials(watch))


def trusted(ca_file: str) -> grpc.ChannelCredentials:
    """Return TLS that trusts the certificates of a file, and no others; raise BindingError where it can't be read."""
    try:
        with open(ca_file, "rb") as file:
            return grpc.ssl_channel_credentials(file.read())
    except OSError as error:
        raise BindingError(f"the binding's setting 'ca_file': {error}") from error
