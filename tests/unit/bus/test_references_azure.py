"""A binding in a key vault or an App Configuration store: over TLS, with a token of a managed identity."""

from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

import polybus
from polybus.binding import Binding
from polybus.bus.resolve import resolve

from .test_references import serving

BINDING = Binding(backend="azure", bus="elsewhere")
NAMES = ("shop.vault.azure.net", "shop.vault.usgovcloudapi.net", "shop.azconfig.io")


@dataclass
class Azure:
    """As much of Azure as has secrets and key-values, by host and path, and gives tokens."""

    port: int = 0
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    refuses: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    resources: list[str] = field(default_factory=list)

    def token(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, object]:
        assert request.headers["X-IDENTITY-HEADER"] == "a-header"
        [resource] = parse_qs(urlsplit(request.path).query)["resource"]
        self.resources.append(resource)
        return 200, {
            "access_token": f"token for {resource}",
            "expires_on": str(int(time.time()) + 3_600),
            "resource": resource,
            "token_type": "Bearer",
        }

    def answer(self, request: BaseHTTPRequestHandler) -> tuple[int, object]:
        host = request.headers["Host"].partition(":")[0]
        self.asked.append((host, request.path, request.headers["Authorization"]))
        if self.refuses:
            return self.refuses.pop(0), {"error": {"message": "no"}}
        path, _, query = request.path.partition("?")
        label = parse_qs(query).get("label", [""])[0]
        found = self.held.get(f"{host}{path}{label and '?' + label}")
        return (200, found) if found else (404, {"error": {"code": "NotFound"}})


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of an authority of one's own, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(built.public_bytes(Encoding.PEM))
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(pem)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Azure]:
    made = Azure()
    cert, key = certificate(tmp_path)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, found = made.answer(self)
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None: ...

    real = socket.getaddrinfo

    def here(host: Any, *args: Any, **more: Any) -> Any:
        return real("127.0.0.1" if host in NAMES else host, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    for name in ("AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_TENANT_ID", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, serving(made.token) as tokens:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens}/token")
        monkeypatch.setenv("IDENTITY_HEADER", "a-header")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
        made.port = server.server_port
        yield made
        server.shutdown()
        thread.join()


def named(bus: str) -> str:
    return Binding(backend="azure", bus=bus).to_compact_json()


def variable(text: str, tmp_path: Path) -> Binding:
    return resolve(None, environ={"POLYBUS_BINDING": text}, start=tmp_path)[0]


def test_a_secret_of_a_vault_is_read(azure: Azure, tmp_path: Path) -> None:
    azure.held["shop.vault.azure.net/secrets/billing"] = {"value": BINDING.to_compact_json(), "id": "x"}
    azure.held["shop.vault.azure.net/secrets/billing/3"] = {
        "value": Binding(backend="azure", bus="former").to_compact_json()
    }
    here = f"keyvault:https://shop.vault.azure.net:{azure.port}/secrets/billing"
    assert variable(here, tmp_path) == BINDING
    assert variable(f"{here}/3", tmp_path).bus == "former"
    token = "Bearer token for https://vault.azure.net"
    assert azure.asked == [
        ("shop.vault.azure.net", "/secrets/billing?api-version=7.4", token),
        ("shop.vault.azure.net", "/secrets/billing/3?api-version=7.4", token),
    ]


def test_a_key_value_of_a_store_is_read(azure: Azure, tmp_path: Path) -> None:
    azure.held["shop.azconfig.io/kv/billing"] = {"key": "billing", "value": BINDING.to_compact_json()}
    azure.held["shop.azconfig.io/kv/billing?prod"] = {
        "value": Binding(backend="azure", bus="labelled").to_compact_json()
    }
    here = f"appconfig:https://shop.azconfig.io:{azure.port}/kv/billing"
    assert variable(here, tmp_path) == BINDING
    assert variable(f"{here}?label=prod", tmp_path).bus == "labelled"
    assert [path for _, path, _ in azure.asked] == [
        "/kv/billing?api-version=1.0",
        "/kv/billing?label=prod&api-version=1.0",
    ]
    assert set(azure.resources) == {"https://azconfig.io"}


def test_a_key_value_may_refer_to_a_secret(azure: Azure, tmp_path: Path) -> None:
    secret = f"https://shop.vault.azure.net:{azure.port}/secrets/billing"
    type_ = "application/vnd.microsoft.appconfig.keyvaultref+json;charset=utf-8"
    azure.held["shop.azconfig.io/kv/billing"] = {"value": json.dumps({"uri": secret}), "content_type": type_}
    azure.held["shop.vault.azure.net/secrets/billing"] = {"value": BINDING.to_compact_json()}
    assert variable(f"appconfig:https://shop.azconfig.io:{azure.port}/kv/billing", tmp_path) == BINDING
    assert [token for _, _, token in azure.asked] == [
        "Bearer token for https://azconfig.io",
        "Bearer token for https://vault.azure.net",
    ]


def test_another_cloud_s_vault_is_asked_with_that_cloud_s_token(azure: Azure, tmp_path: Path) -> None:
    azure.held["shop.vault.usgovcloudapi.net/secrets/billing"] = {"value": BINDING.to_compact_json()}
    assert variable(f"keyvault:https://shop.vault.usgovcloudapi.net:{azure.port}/secrets/billing", tmp_path) == BINDING
    assert azure.resources == ["https://vault.usgovcloudapi.net"]


def test_what_fails_once_is_asked_again(azure: Azure, tmp_path: Path) -> None:
    azure.held["shop.vault.azure.net/secrets/billing"] = {"value": BINDING.to_compact_json()}
    azure.refuses = [503]
    assert variable(f"keyvault:https://shop.vault.azure.net:{azure.port}/secrets/billing", tmp_path) == BINDING
    assert len(azure.asked) == 2


@pytest.mark.parametrize(
    ("refuses", "words"),
    [
        ([], r"there is no such thing; a stack whose `bindings` names the vault or the store makes it"),
        ([403], r"denied; it takes Key Vault Secrets User on the secret, and a right holds up to ten minutes after"),
        ([302], r"HTTP 302: "),
    ],
)
def test_what_a_vault_refuses_says_which_and_why(azure: Azure, tmp_path: Path, refuses: list[int], words: str) -> None:
    azure.refuses = refuses
    with pytest.raises(polybus.BindingError, match=f"POLYBUS_BINDING names keyvault:https://shop.*: {words}"):
        variable(f"keyvault:https://shop.vault.azure.net:{azure.port}/secrets/billing", tmp_path)


@pytest.mark.parametrize(
    "reference",
    [
        "keyvault:shop/billing",
        "keyvault:http://shop.vault.azure.net/secrets/billing",
        "keyvault:https://vault.azure.net/secrets/billing",
        "keyvault:https://shop.vault.azure.net.example.com/secrets/billing",
        "keyvault:https://evilvault.azure.net/secrets/billing",
        "keyvault:https://shop.vault.azure.net/keys/billing",
        "keyvault:https://shop.vault.azure.net/secrets/billing?label=x",
        "appconfig:https://shop.vault.azure.net/kv/billing",
        "appconfig:https://shop.azconfig.io/kv/billing?after=x",
    ],
)
def test_a_token_goes_to_no_place_that_is_not_azure_s(azure: Azure, tmp_path: Path, reference: str) -> None:
    with pytest.raises(polybus.BindingError, match=r"allowed: (keyvault|appconfig):https://<(vault|store)>"):
        variable(reference, tmp_path)
    assert (azure.resources, azure.asked) == ([], [])


def test_an_identity_that_is_not_there_is_named(azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    with pytest.raises(polybus.BindingError, match=r"(?s)keyvault:https://shop.*EnvironmentCredential"):
        variable(f"keyvault:https://shop.vault.azure.net:{azure.port}/secrets/billing", tmp_path)
