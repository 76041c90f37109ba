"""Shared access signatures as clients of any language make them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from azure.core.credentials import AccessToken
from azure.servicebus import ServiceBusClient, ServiceBusMessage, TransportType

from polybus.localcloud.servicebus import ServiceBusServer
from polybus.localcloud.servicebus.rights import ROOT_KEY, ROOT_KEY_NAME

WHERE = "https://localhost:1/Some/Entity(1)*~ x/?api-version=2021-05"

ESCAPES: dict[str, Callable[[str], str]] = {
    "python": quote_plus,
    "lower case": lambda text: quote_plus(text).lower(),
    "javascript": lambda text: quote(text.lower(), safe="!*'()~-_."),
    "percent for a space": lambda text: quote(text, safe=""),
    "as it is": lambda text: text.replace("&", ""),
}


def token(
    resource: str,
    *,
    name: str = ROOT_KEY_NAME,
    key: str = ROOT_KEY,
    until: int | None = None,
    order: tuple[str, ...] = ("sr", "sig", "se", "skn"),
) -> str:
    ends = until if until is not None else int(time.time()) + 300
    digest = hmac.new(key.encode(), f"{resource}\n{ends}".encode(), hashlib.sha256).digest()
    parts = {"sr": resource, "sig": quote(base64.b64encode(digest), safe=""), "se": str(ends), "skn": quote(name)}
    return "SharedAccessSignature " + "&".join(f"{part}={parts[part]}" for part in order)


def asked(server: ServiceBusServer, authorization: str) -> tuple[int, str]:
    trust = ssl.create_default_context(cafile=str(server.certificate))
    connection = http.client.HTTPSConnection("localhost", server.port, context=trust, timeout=20)
    try:
        connection.request("GET", "/$namespaceinfo", headers={"Authorization": authorization})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("escape", ESCAPES.values(), ids=ESCAPES.keys())
def test_a_signature_is_over_the_resource_as_it_is_spelled(
    server: ServiceBusServer, escape: Callable[[str], str]
) -> None:
    assert asked(server, token(escape(WHERE)))[0] == 200


def test_the_parts_of_a_token_come_in_any_order(server: ServiceBusServer) -> None:
    assert asked(server, token("x", order=("sig", "se", "skn", "sr")))[0] == 200


def test_another_resource_than_the_signed_one_is_refused(server: ServiceBusServer) -> None:
    status, text = asked(server, token("a%3A").replace("sr=a%3A", "sr=a%3a"))
    assert (status, "InvalidSignature" in text) == (401, True)


def test_unknown_keys_are_refused(server: ServiceBusServer) -> None:
    for wrong in (
        token("x", name="unknown"),
        token("x", key="wrong"),
        "SharedAccessSignature",
        "SharedAccessSignature a",
    ):
        assert asked(server, wrong)[0] == 401


def test_an_ended_token_is_refused(server: ServiceBusServer) -> None:
    status, text = asked(server, token("x", until=1))
    assert (status, "ExpiredToken" in text) == (401, True)


def entra(*, until: float | None = None, **more: object) -> str:
    claims = {"exp": until if until is not None else int(time.time()) + 300} | more
    parts = ({"alg": "RS256", "typ": "JWT"}, claims)
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*texts, "c2lnbmVk"])


def test_a_token_of_entra_id_is_taken_whatever_keys_there_are(server: ServiceBusServer) -> None:
    for _ in range(2):
        assert asked(server, f"Bearer {entra(oid='someone')}")[0] == 200
        server.rights.put("sender", "secret", "", {"Send"})
    status, text = asked(server, f"Bearer {entra(until=1.5)}")
    assert (status, "ExpiredToken" in text) == (401, True)
    for wrong in ("Bearer anyone", "Bearer a.b.c", f"Bearer {entra()}.x", "Bearer W10.e30.x", "Bearer e30.e30.x"):
        assert asked(server, wrong)[0] == 401


class Someone:
    """A credential of Entra ID."""

    def get_token(self, *_: str, **__: object) -> AccessToken:
        return AccessToken(entra(), int(time.time()) + 300)


def test_the_library_with_a_credential(server: ServiceBusServer) -> None:
    server.entities.create_queue("q")
    server.rights.put("sender", "secret", "", {"Send"})
    with (
        ServiceBusClient(
            "localhost",
            Someone(),
            custom_endpoint_address=f"https://localhost:{server.port}",
            connection_verify=str(server.certificate),
            retry_total=0,
            transport_type=TransportType.Amqp,
        ) as client,
        client.get_queue_sender("q") as sender,
    ):
        sender.send_messages(ServiceBusMessage("x"))
    assert server.entities.counts("q").active == 1
