"""One connection to Pub/Sub, with both clients on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any
from urllib.parse import urlencode

import grpc
from google.api_core import exceptions
from google.api_core.client_options import ClientOptions
from google.api_core.gapic_v1.client_info import ClientInfo
from google.iam.v1.iam_policy_pb2 import (  # type: ignore[import-untyped]
    TestIamPermissionsRequest,
    TestIamPermissionsResponse,
)
from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from polybus.clouds.gcp.driver.credentials import Watch, channel_credentials, trusted
from polybus.clouds.gcp.driver.endpoint import channel_options

__all__ = ["Line", "Method", "google_line", "local_line"]

Method = Callable[..., Awaitable[Any]]

_PUBLISHER = "/google.pubsub.v1.Publisher/"
_SUBSCRIBER = "/google.pubsub.v1.Subscriber/"
_CLIENT = ClientInfo().to_grpc_metadata()  # type: ignore[no-untyped-call]


class Line:
    """A channel, what consumers and publishers call on it, and the library's clients for all else.

    What each message takes part in is called on raw protobuf: the library's wrapping costs more CPU than all else that
    such a call does. A channel of grpc.aio belongs to the event loop on which it was made. `used` counts the calls and
    streams that are under way, `left` says that nothing new may begin on it.
    """

    def __init__(
        self, channel: grpc.aio.Channel, watch: Watch | None = None, subscriber: SubscriberAsyncClient | None = None
    ) -> None:
        self.watch = Watch() if watch is None else watch
        self.used = 0
        self.left = False
        self._channel = channel
        self._subscriber = subscriber
        self._pull = channel.stream_stream(
            f"{_SUBSCRIBER}StreamingPull",
            request_serializer=types.StreamingPullRequest.pb().SerializeToString,
            response_deserializer=types.StreamingPullResponse.pb().FromString,
        )
        self.publish = _unary(channel, f"{_PUBLISHER}Publish", types.PublishRequest, types.PublishResponse, "topic")
        self.acknowledge = _unary(channel, f"{_SUBSCRIBER}Acknowledge", types.AcknowledgeRequest, None, "subscription")
        self.modify_ack_deadline = _unary(
            channel, f"{_SUBSCRIBER}ModifyAckDeadline", types.ModifyAckDeadlineRequest, None, "subscription"
        )

    def streaming_pull(self, subscription: str) -> Any:
        """Begin a stream, whose first request is to be written."""
        return self._pull(None, metadata=_metadata("subscription", subscription))

    @cached_property
    def publisher(self) -> PublisherAsyncClient:
        return PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=self._channel))

    @cached_property
    def subscriber(self) -> SubscriberAsyncClient:
        if self._subscriber is not None:
            return self._subscriber
        return SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=self._channel))

    @cached_property
    def test_iam_permissions(self) -> Any:
        """The call as gRPC has it: the library's doesn't show what comes beside the answer."""
        return self._channel.unary_unary(
            "/google.iam.v1.IAMPolicy/TestIamPermissions",
            request_serializer=TestIamPermissionsRequest.SerializeToString,
            response_deserializer=TestIamPermissionsResponse.FromString,
        )

    async def close(self) -> None:
        await self._channel.close(None)


def _metadata(name: str, resource: str) -> tuple[tuple[str, str], ...]:
    """Return what the library's clients send beside a request: for routing, and who they are."""
    return (("x-goog-request-params", urlencode({name: resource})), _CLIENT)


def _unary(channel: grpc.aio.Channel, path: str, request: Any, response: Any, name: str) -> Method:
    """Return a call on raw protobuf that raises what the library's does; `name` is the request's resource."""
    method = channel.unary_unary(
        path,
        request_serializer=request.pb().SerializeToString,
        response_deserializer=Empty.FromString if response is None else response.pb().FromString,
    )

    async def call(*, request: Any, retry: None, timeout: float) -> Any:
        try:
            return await method(request, timeout=timeout, metadata=_metadata(name, getattr(request, name)))
        except grpc.aio.AioRpcError as error:
            raise exceptions.from_grpc_error(error) from error  # type: ignore[no-untyped-call]

    return call


def local_line(endpoint: str, ca_file: str | None) -> Line:
    """Connect to a server that takes anyone, at HOST:PORT; with TLS where it is told whom to trust."""
    if ca_file is not None:
        return Line(grpc.aio.secure_channel(endpoint, trusted(ca_file), options=channel_options(endpoint)))
    return Line(grpc.aio.insecure_channel(endpoint, options=channel_options(endpoint)))


def google_line(credentials: Any, api_endpoint: str | None, ca_file: str | None) -> Line:
    """Connect to Google with TLS and credentials, at its usual endpoint or the one that is named.

    The library chooses the address and the certificates (client certificates, universe domains, quota projects); the
    channel is made here, so that it has the options that all of ours have.
    """
    watch = Watch()
    ssl = None if ca_file is None else trusted(ca_file)

    class Transport(SubscriberGrpcAsyncIOTransport):
        @classmethod
        def create_channel(  # type: ignore[override] # as its __init__ calls it
            cls,
            host: str,
            credentials: Any = None,
            scopes: Any = None,
            ssl_credentials: Any = None,
            quota_project_id: str | None = None,
            **_: Any,
        ) -> grpc.aio.Channel:
            composed = channel_credentials(
                credentials,
                watch,
                scopes=scopes,
                default_scopes=cls.AUTH_SCOPES,
                host=cls.DEFAULT_HOST,
                ssl=ssl or ssl_credentials,
                quota=quota_project_id,
            )
            return grpc.aio.secure_channel(host, composed, options=channel_options(host))

    options = ClientOptions(api_endpoint=api_endpoint) if api_endpoint else None
    subscriber = SubscriberAsyncClient(credentials=credentials, client_options=options, transport=Transport)
    transport: Any = subscriber.transport
    return Line(transport.grpc_channel, watch, subscriber)
