"""How Service Bus is reached: identities that can't be had for a while, proxies, and certificates."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CredentialUnavailableError
from azure.identity.aio import ChainedTokenCredential
from azure.servicebus import ServiceBusMessage, TransportType
from azure.servicebus.exceptions import ServiceBusError

import polybus
from polybus.binding import Binding
from polybus.clouds.azure.driver.clients import Clients
from polybus.clouds.azure.driver.credentials import Identity
from polybus.clouds.azure.driver.faults import fault
from polybus.clouds.azure.driver.network import Network
from polybus.errors import BindingError, FaultKind
from polybus.localcloud.certificate import make_certificate
from polybus.registry import load

from .test_azure_faults import answered


class Credential:
    """One of a chain's, which answers as it is told."""

    def __init__(self, *answers: Exception | str) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.closed = False

    async def get_token(self, *scopes: str, **options: Any) -> AccessToken:
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return AccessToken(answer, 2_000_000_000)

    async def close(self) -> None:
        self.closed = True


def chain(monkeypatch: pytest.MonkeyPatch, *credentials: Credential) -> Identity:
    """Make DefaultAzureCredential consist of these; what it does with them is the library's own code."""
    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", lambda: ChainedTokenCredential(*credentials))
    return Identity()


async def kind_of(identity: Identity) -> FaultKind:
    with pytest.raises(ClientAuthenticationError) as caught:
        await identity.get_token("scope")
    return fault(caught.value).kind


ABSENT = CredentialUnavailableError(message="the environment has none")
DOWN = ClientAuthenticationError("metadata service", response=answered(503))
REFUSED = ClientAuthenticationError("AADSTS7000215", response=answered(401))


async def test_an_endpoint_that_fails_for_a_while_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = chain(monkeypatch, Credential(ABSENT), Credential(DOWN, ABSENT, "a token"))
    assert await kind_of(identity) is FaultKind.UNAVAILABLE
    assert await kind_of(identity) is FaultKind.UNAVAILABLE
    assert (await identity.get_token("scope")).token == "a token"


async def test_a_refused_identity_is_refused_though_the_chain_hides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await kind_of(chain(monkeypatch, Credential(ABSENT), Credential(REFUSED))) is FaultKind.UNAUTHENTICATED


async def test_whoever_gave_a_token_is_asked_for_the_next_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    absent, good = Credential(ABSENT), Credential("one", DOWN, "two")
    identity = chain(monkeypatch, absent, good)
    assert (await identity.get_token("scope")).token == "one"
    assert await kind_of(identity) is FaultKind.UNAVAILABLE
    assert (await identity.get_token("scope")).token == "two"
    await identity.close()
    assert absent.closed
    assert good.closed


async def test_what_replaced_a_refused_identity_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that was rotated, say: its file is read when the credential is made."""
    old, new = Credential(REFUSED), Credential("a token")
    made = iter([old, new])
    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", lambda: ChainedTokenCredential(next(made)))
    identity = Identity()
    assert await kind_of(identity) is FaultKind.UNAUTHENTICATED
    assert old.closed
    assert (await identity.get_token("scope")).token == "a token"
    assert not new.closed
    await identity.close()
    assert new.closed


def test_websockets_a_proxy_and_an_authority_of_ones_own_are_settings(tmp_path: Path) -> None:
    certificate, _ = make_certificate(tmp_path, "127.0.0.1")
    settings = {"transport": "websocket", "proxy": "http://me:p%40ss@proxy.local:3128", "ca_file": str(certificate)}
    options = Network(settings, local=False).amqp()
    assert options["transport_type"] is TransportType.AmqpOverWebsocket
    assert options["http_proxy"] == {
        "proxy_hostname": "http://proxy.local",
        "proxy_port": 3128,
        "username": "me",
        "password": "p@ss",
    }
    assert len(options["ssl_context"].get_ca_certs()) == 1
    plain = Network({}, local=False).amqp()
    assert plain["transport_type"] is TransportType.Amqp
    assert len(plain["ssl_context"].get_ca_certs()) > 1
    with pytest.raises(BindingError, match=r"settings\.ca_file: /gone\.pem: No such file"):
        Network({"ca_file": "/gone.pem"}, local=False).amqp()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"transport": "carrier pigeon"}, r"settings\.transport: 'carrier pigeon'; allowed: amqp, websocket"),
        ({"proxy": "proxy.local:3128"}, r"settings\.proxy"),
        ({"proxy": "http://proxy.local:port"}, r"settings\.proxy"),
        ({"ca_file": 7}, r"settings\.ca_file"),
    ],
)
def test_a_setting_that_cant_be_is_named(monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], said: str) -> None:
    monkeypatch.delenv("AZURE_SERVICEBUS_CONNECTION_STRING", raising=False)
    binding = Binding(backend="azure", bus="shop", settings={"namespace": "shop.servicebus.windows.net", **settings})
    with pytest.raises(BindingError, match=said):
        load("azure")(binding, polybus.SystemClock())


async def test_a_local_server_is_reached_directly_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    local = "Endpoint=sb://localhost:5673;SharedAccessKeyName=k;SharedAccessKey=v;UseDevelopmentEmulator=true"
    monkeypatch.setenv("AZURE_SERVICEBUS_CONNECTION_STRING", local)
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:1")
    clients = Clients({"namespace": "shop.servicebus.windows.net", "proxy": "http://proxy.invalid:1"})
    assert set(Network({"proxy": "http://proxy.invalid:1"}, local=True).amqp()) == {"ssl_context"}
    with pytest.raises(Exception) as caught:  # noqa: PT011 - nothing listens there; who was asked is the question
        await clients.administration.get_queue("q")
    assert "proxy" not in str(caught.value)
    assert "localhost:5673" in str(caught.value)
    await clients.aclose()


async def test_the_session_of_a_websocket_that_does_not_open_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AZURE_SERVICEBUS_CONNECTION_STRING", raising=False)
    monkeypatch.setattr("azure.identity.aio.DefaultAzureCredential", lambda: Credential("token"))
    sessions: list[ClientSession] = []
    begin = ClientSession.__init__

    def beginning(session: ClientSession, *arguments: Any, **options: Any) -> None:
        begin(session, *arguments, **options)
        sessions.append(session)

    monkeypatch.setattr(ClientSession, "__init__", beginning)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        settings = {"transport": "websocket", "proxy": f"http://127.0.0.1:{port}"}
        clients = Clients({"namespace": "shop.servicebus.windows.net", **settings})
        sender = clients.bus.get_queue_sender("jobs")
        with pytest.raises(ServiceBusError):
            await sender.send_messages(ServiceBusMessage(b"x"))
        await sender.close()
        await clients.aclose()
    assert sessions
    assert [session for session in sessions if not session.closed] == []
