"""One connection to Pub/Sub, with both clients on it."""

from __future__ import annotations

from typing import Any

import grpc
from google.api_core.client_options import ClientOptions
from google.iam.v1.iam_policy_pb2 import (  # type: ignore[import-untyped]
    TestIamPermissionsRequest,
    TestIamPermissionsResponse,
)
from google.pubsub_v1 import PublisherAsyncClient, SubscriberAsyncClient, types
from google.pubsub_v1.services.publisher.transports import PublisherGrpcAsyncIOTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcAsyncIOTransport

from polybus.backends.gcp.credentials import Watch, channel_credentials, trusted
from polybus.backends.gcp.endpoint import channel_options

__all__ = ["Line", "google_line", "local_line"]

_STREAMING_PULL = "/google.pubsub.v1.Subscriber/StreamingPull"


class Line:
    """A channel, and the publisher's and the subscriber's client on it.

    A channel of grpc.aio belongs to the event loop on which it was made. `used` counts the calls and streams that are
    under way, `left` says that nothing new may begin on it.
    """

    def __init__(self, channel: grpc.aio.Channel, subscriber: SubscriberAsyncClient, watch: Watch) -> None:
        self.publisher = PublisherAsyncClient(transport=PublisherGrpcAsyncIOTransport(channel=channel))
        self.subscriber = subscriber
        self.watch = watch
        self.used = 0
        self.left = False
        self._channel = channel
        # Raw protobuf: the library's wrapping of it costs more than all else that a stream does.
        self.streaming_pull: Any = channel.stream_stream(
            _STREAMING_PULL,
            request_serializer=types.StreamingPullRequest.pb().SerializeToString,
            response_deserializer=types.StreamingPullResponse.pb().FromString,
        )

        # Raw, since the generated one doesn't show what comes beside the answer.
        self.test_iam_permissions: Any = channel.unary_unary(
            "/google.iam.v1.IAMPolicy/TestIamPermissions",
            request_serializer=TestIamPermissionsRequest.SerializeToString,
            response_deserializer=TestIamPermissionsResponse.FromString,
        )

    async def close(self) -> None:
        await self._channel.close(None)


def local_line(endpoint: str) -> Line:
    """Connect to a server that takes anyone, at HOST:PORT."""
    channel = grpc.aio.insecure_channel(endpoint, options=channel_options(endpoint))
    return Line(channel, SubscriberAsyncClient(transport=SubscriberGrpcAsyncIOTransport(channel=channel)), Watch())


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
    return Line(transport.grpc_channel, subscriber, watch)
