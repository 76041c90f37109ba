"""Where Pub/Sub is: Google's own endpoint, another of Google's, or a local server."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any

from polybus.errors import BindingError

__all__ = ["API_ENDPOINT", "CA_FILE", "EMULATOR", "Place", "channel_options"]

EMULATOR = "PUBSUB_EMULATOR_HOST"
API_ENDPOINT = "api_endpoint"
CA_FILE = "ca_file"

_HOST_PORT = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?)(?::(?P<port>\d{1,5}))?"
)

# Milliseconds after which a connection that is used is asked whether it is alive, and within which that is answered. 30
# s is what Google's own client asks for (google-cloud-pubsub's transports) and its servers allow; an answer takes a
# round trip, so one that is over 10 s late doesn't come.
KEEPALIVE = 30_000
KEEPALIVE_ANSWER = 10_000
# Milliseconds between tries to connect, at most. gRPC's own 120 s would keep a service deaf for two minutes after an
# outage that is over.
RECONNECT = 10_000


class Place:
    """The address that a binding's settings and the environment name; raises BindingError for what isn't one.

    `endpoint` is HOST:PORT of a server that takes anyone, a local one: without TLS, unless there is a `ca_file`.
    `api_endpoint` is the host of one of Google's, with TLS and credentials: regional, private, or None for the usual
    one.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        name, given = "the binding's setting 'endpoint'", settings.get("endpoint")
        if not given:
            name, given = EMULATOR, os.environ.get(EMULATOR)
        self.endpoint: str | None = _checked(name, str(given), port=True) if given else None
        given = settings.get(API_ENDPOINT)
        self.api_endpoint: str | None = (
            _checked(f"the binding's setting {API_ENDPOINT!r}", str(given), port=False) if given else None
        )
        self.ca_file: str | None = settings.get(CA_FILE)


def _checked(name: str, address: str, *, port: bool) -> str:
    shape = "HOST:PORT" if port else "HOST or HOST:PORT"
    found = _HOST_PORT.fullmatch(address)
    if found is None or (port and found["port"] is None) or int(found["port"] or 1) not in range(1, 65536):
        raise BindingError(f"{name} is {address!r}, which isn't an address: write {shape}, without scheme or path")
    return address


def channel_options(address: str) -> list[tuple[str, int]]:
    """Return what every connection is made with, whoever is at its other end."""
    options = [
        # gRPC's default refuses responses over 4 MB, and one message may have 10.
        ("grpc.max_receive_message_length", -1),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", 4 * 1024 * 1024),  # as Google's own client: errors of many ack ids are long
        ("grpc.keepalive_time_ms", KEEPALIVE),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_ANSWER),
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_ANSWER),  # of any ping: it would be 60 s, and end the one above
        ("grpc.http2.max_pings_without_data", 0),  # or a stream that is silent stops asking after two
        ("grpc.max_reconnect_backoff_ms", RECONNECT),
        # Channels of one address share their connections otherwise, and a dead one is to be left behind.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if _is_loopback(address):
        options.append(("grpc.enable_http_proxy", 0))  # no proxy reaches this machine's own loopback
    return options


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0] or address
    host = host.strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
