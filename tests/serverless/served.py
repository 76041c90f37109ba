"""An application behind a real server, uvicorn, with TLS where wanted; and the certificate that its clients trust."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
# Seconds that anything here may take; reached only where something is broken.
BOUND = 30.0


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in servers, which tell nobody
            await asyncio.sleep(0.01)


def listening() -> socket.socket:
    """Return a socket of our own: its port is known before what is served there is made."""
    found = socket.socket()
    found.bind((HOST, 0))
    found.listen()
    return found


class Server(uvicorn.Server):
    """A server that says when it serves."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def serving(application: Any, place: socket.socket, **options: Any) -> AsyncIterator[Server]:
    """Serve for the length of the block, and then shut down as on SIGTERM."""
    server = Server(uvicorn.Config(application, log_config=None, ws="none", lifespan="on", **options))
    running = asyncio.create_task(server.serve(sockets=[place]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED, timeout=BOUND)
        assert server.started
        yield server
    finally:
        ready.cancel()
        server.should_exit = True
        await asyncio.wait_for(running, BOUND)


class Statuses:
    """An application that notes what another answers."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.all: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.all.append(message["status"])
            await send(message)

        await self._application(scope, receive, noted)


class Tls:
    """A certificate for 127.0.0.1, in files; clients trust it that are told its file by SSL_CERT_FILE."""

    def __init__(self, folder: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
        start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=2))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            # What a strict check asks of an authority (Python 3.13's default: VERIFY_X509_STRICT).
            .add_extension(_usage(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, SHA256())
        )
        self.certificate = folder / "certificate.pem"
        self.key = folder / "key.pem"
        self.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))

    @property
    def options(self) -> dict[str, Any]:
        """What `serving` takes."""
        return {"ssl_certfile": str(self.certificate), "ssl_keyfile": str(self.key)}


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
