"""The ways to the server: AMQP and HTTP, with TLS and without, AMQP inside a WebSocket, one port and several."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from azure.servicebus import ServiceBusClient, ServiceBusMessage, TransportType
from azure.servicebus.aio import ServiceBusClient as AsyncClient
from azure.servicebus.exceptions import ServiceBusError
from azure.servicebus.management import ServiceBusAdministrationClient

from polybus.localcloud.certificate import make_certificate
from polybus.localcloud.server import free_port, running_in_thread
from polybus.localcloud.servicebus import QueueOptions, ServiceBusServer
from polybus.localcloud.servicebus.amqp import encode as e
from polybus.localcloud.servicebus.amqp import performatives as p
from polybus.localcloud.servicebus.amqp.sections import DATA
from polybus.localcloud.servicebus.rights import ROOT_KEY, ROOT_KEY_NAME

Connect = Callable[..., Any]
BODY = e.described(DATA, e.binary(b"x"))
# The library's blocking client needs another package for WebSockets than its asynchronous one.
WAYS = pytest.mark.parametrize("way", [TransportType.Amqp, TransportType.AmqpOverWebsocket])


def sasl(peer: Any, name: str, key: str) -> int:
    """Log in with a key and return the outcome's code."""
    peer.send(p.SASL_HEADER)
    assert peer.exactly(8) == p.SASL_HEADER
    assert b"PLAIN" in peer.exactly(int.from_bytes(peer.exactly(4)) - 4)
    answer = e.items([e.symbol("PLAIN"), e.binary(f"\0{name}\0{key}".encode())])
    peer.send(p.frame(0, e.described(p.SASL_INIT, answer), 1))
    body = peer.exactly(int.from_bytes(peer.exactly(4)) - 4)
    return body[-2]  # the outcome is (code, nothing)


@pytest.mark.parametrize("tls", [False, True])
def test_amqp_with_sasl_with_tls_and_without(server: ServiceBusServer, peers: Connect, tls: bool) -> None:
    server.entities.create_queue("q")
    peer = peers(server, tls=tls)
    assert sasl(peer, ROOT_KEY_NAME, ROOT_KEY) == 0
    peer.open()
    peer.attach("in", 0, "q", receives=False)
    assert peer.deliver(0, 0, BODY).descriptor == p.STATE_ACCEPTED


@pytest.mark.parametrize("tls", [False, True])
def test_a_wrong_key_fails_sasl(server: ServiceBusServer, peers: Connect, tls: bool) -> None:
    assert sasl(peers(server, tls=tls), ROOT_KEY_NAME, "wrong") == 1


def test_who_says_nothing_inside_tls_is_cut_off(peers: Connect) -> None:
    with running_in_thread(ServiceBusServer(handshake_timeout=0.4)) as server:
        assert peers(server, tls=True).ended() == b""


def over(server: ServiceBusServer, way: TransportType = TransportType.Amqp, **more: Any) -> dict[str, Any]:
    """What a client is given to take the way that it would take to a real namespace."""
    return {
        "conn_str": server.connection_string(tls=True),
        "transport_type": way,
        "retry_total": 0,
        "connection_verify": str(server.certificate),
        "custom_endpoint_address": f"https://localhost:{server.port}",
    } | more


def test_the_library_over_tls(server: ServiceBusServer) -> None:
    server.entities.create_queue("q", QueueOptions(requires_session=True))
    with (
        ServiceBusClient.from_connection_string(**over(server)) as client,
        client.get_queue_sender("q") as sender,
        client.get_queue_receiver("q", session_id="s", max_wait_time=10) as receiver,
    ):
        sender.send_messages([ServiceBusMessage("x" * 150_000, session_id="s"), ServiceBusMessage("y", session_id="s")])
        got = [message for _ in range(2) for message in receiver.receive_messages(1)]
        assert [len(str(message)) for message in got] == [150_000, 1]
        for message in got:
            receiver.complete_message(message)
    assert server.entities.counts("q").active == 0


@WAYS
async def test_the_asynchronous_library_over_tls(server: ServiceBusServer, way: TransportType) -> None:
    server.entities.create_queue("q")
    async with (
        AsyncClient.from_connection_string(**over(server, way)) as client,
        client.get_queue_sender("q") as sender,
        client.get_queue_receiver("q", max_wait_time=10) as receiver,
    ):
        await sender.send_messages(ServiceBusMessage("x"))
        (message,) = await receiver.receive_messages(1)
        await receiver.complete_message(message)
    assert server.entities.counts("q").active == 0


async def test_a_certificate_that_nobody_named_is_refused(server: ServiceBusServer) -> None:
    server.entities.create_queue("q")
    with pytest.raises(ServiceBusError):
        async with (
            AsyncClient.from_connection_string(**over(server, connection_verify=None)) as client,
            client.get_queue_sender("q") as sender,
        ):
            await sender.send_messages(ServiceBusMessage("x"))
    assert server.entities.counts("q").active == 0


async def converse(server: ServiceBusServer, *says: bytes, protocol: str = "AMQPWSB10") -> tuple[str | None, bytes]:
    """Say something in a WebSocket; return the protocol that was agreed on and all that came until it ended."""
    url = f"http://localhost:{server.port}/$servicebus/websocket"
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=[protocol]) as socket_,
    ):
        for part in says:
            await socket_.send_bytes(part)
        return socket_.protocol, b"".join([message.data async for message in socket_])


async def test_a_websocket_carries_bytes_whatever_their_messages(server: ServiceBusServer) -> None:
    opened = p.frame(0, p.performative(p.OPEN, [e.string("peer")])) + p.frame(0, p.performative(p.CLOSE, []))
    whole = p.AMQP_HEADER + opened
    protocol, data = await converse(server, *[whole[at : at + 3] for at in range(0, len(whole), 3)])
    assert protocol == "AMQPWSB10"
    assert data.startswith(p.AMQP_HEADER)
    assert data.endswith(p.frame(0, p.performative(p.CLOSE, [])))
    protocol, data = await converse(server, whole, protocol="amqp")
    assert (protocol, data[:8]) == ("amqp", p.AMQP_HEADER)


async def test_what_is_malformed_ends_a_websocket(
    server: ServiceBusServer, no_connections: Callable[[ServiceBusServer], None]
) -> None:
    _, data = await converse(server, b"AMQP\x00\x09\x09\x09")
    assert data == p.SASL_HEADER
    await asyncio.to_thread(no_connections, server)


async def test_a_server_ends_though_a_websocket_is_open(no_connections: Callable[[ServiceBusServer], None]) -> None:
    async with aiohttp.ClientSession() as session:
        with running_in_thread(ServiceBusServer()) as server:
            url = f"http://localhost:{server.port}/$servicebus/websocket"
            socket_ = await session.ws_connect(url)
            await socket_.send_bytes(p.AMQP_HEADER + p.frame(0, p.performative(p.OPEN, [e.string("peer")])))
            assert (await socket_.receive()).data[:8] == p.AMQP_HEADER
            assert server.connections == 1
        # Its end blocked our loop, so that nobody answered the farewell.
        no_connections(server)
        assert b"amqp:connection:forced" in (await socket_.receive()).data


async def test_text_is_no_amqp(server: ServiceBusServer) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"http://localhost:{server.port}/$servicebus/websocket") as socket_,
    ):
        await socket_.send_str("AMQP")
        assert (await socket_.receive()).type is aiohttp.WSMsgType.CLOSE


async def test_the_way_of_websockets_takes_nothing_else(server: ServiceBusServer) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://localhost:{server.port}/$servicebus/websocket") as answer,
    ):
        assert answer.status == 400


def test_every_port_speaks_everything(peers: Connect) -> None:
    more = free_port()
    with running_in_thread(ServiceBusServer(ports=[more])) as server:
        server.entities.create_queue("q")
        assert more != server.port
        text = server.connection_string().replace(str(server.port), str(more))
        with ServiceBusAdministrationClient.from_connection_string(
            text, connection_verify=str(server.certificate)
        ) as admin:
            assert admin.get_queue("q").name == "q"
        with ServiceBusClient.from_connection_string(text) as client, client.get_queue_sender("q") as sender:
            sender.send_messages(ServiceBusMessage("x"))
        assert server.entities.counts("q").active == 1


def test_a_port_that_is_taken_is_told_and_frees_the_others() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        first = free_port()
        with pytest.raises(OSError, match="in use"), running_in_thread(ServiceBusServer(port=first, ports=[number])):
            pass
        with socket.create_server(("127.0.0.1", first)):
            pass


def test_without_a_port_where_clients_find_it_by_themselves() -> None:
    assert "Endpoint=sb://localhost;" in ServiceBusServer(ports=[5671]).connection_string(tls=True)
    assert "Endpoint=sb://localhost:5672;" in ServiceBusServer(port=5672, ports=[5671]).connection_string()


def test_the_bundles_hold_the_certificate_and_the_system_s_authorities(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other, _ = make_certificate(tmp_path / "other", "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(other))
    with running_in_thread(ServiceBusServer(data=tmp_path / "data")) as server:
        env = server.env()
        for file in (server.certificate, other):
            text = file.read_text().strip()
            assert text in Path(env["AZURE_SERVICEBUS_CA_BUNDLE"]).read_text()
            assert ssl.PEM_cert_to_DER_cert(text) in Path(env["AZURE_SERVICEBUS_TRUST_STORE"]).read_bytes()
