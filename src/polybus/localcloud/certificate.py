"""The certificate by which a local server is reached over TLS, made anew at each start."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import re
import ssl
import struct
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = [
    "Certificate",
    "bundle_in",
    "certificate_in",
    "make_bundles",
    "make_certificate",
    "server_context",
    "trust_store_in",
]

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+-----END CERTIFICATE-----")
# Where Debian, Fedora, and macOS and BSD keep them: where OpenSSL was built for another system, it doesn't know.
SYSTEM = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
STORE_PASSWORD = "changeit"  # noqa: S105 - what Java takes where none is named; the store holds no secret
LIFETIME = datetime.timedelta(days=365)


class Certificate:
    """What a server keeps in a folder, `data` or one of its own, from its start to its end."""

    def __init__(self, data: Path | None, server: str) -> None:
        self._data = data
        self._server = server
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._path: Path | None = None
        self._made: tuple[bytes, bytes] | None = None

    @property
    def path(self) -> Path:
        """The file by which clients trust the server; raises RuntimeError where that isn't known yet.

        Where it keeps no data it is known once it is started: the file is in a folder of its own then.
        """
        if self._path is None:
            if self._data is not None:
                return certificate_in(self._data, self._server)
            raise RuntimeError(f"the local {self._server} server is not started")
        return self._path

    @property
    def bundle(self) -> Path:
        """The same with the system's authorities."""
        return bundle_in(self.path.parent, self._server)

    @property
    def trust_store(self) -> Path:
        """The same as Java's runtimes read it."""
        return trust_store_in(self.path.parent, self._server)

    def make(self, host: str) -> bytes:
        """Write all of them, and return the key as PEM, which no file keeps.

        They are made anew at the first call: clients that trust one go on when the server is started again.
        """
        folder = self._data
        if folder is None:
            self._scratch = tempfile.TemporaryDirectory(prefix=f"polybus-{self._server}-")
            folder = Path(self._scratch.name)
        if self._made is None:
            self._path, key = make_certificate(folder, host, self._server)
            self._made = self._path.read_bytes(), key.read_bytes()
            key.unlink()
        else:
            self._path = certificate_in(folder, self._server)
            self._path.write_bytes(self._made[0])
        make_bundles(self._path, self._server)
        return self._made[1]

    def context(self, host: str) -> ssl.SSLContext:
        """Write all of them, and return what a server of asyncio listens with."""
        secret = self.make(host)
        with tempfile.TemporaryDirectory() as folder:  # for its owner alone; ssl reads keys from files only
            key = Path(folder) / "key.pem"
            key.write_bytes(secret)
            return server_context(self.path, key)

    def remove(self) -> None:
        """Remove the folder of its own."""
        scratch, self._scratch = self._scratch, None
        if scratch is not None:
            scratch.cleanup()


def certificate_in(folder: Path, server: str = "servicebus") -> Path:
    """Return where `make_certificate` writes the certificate."""
    return folder / f"{server}-ca.pem"


def make_certificate(folder: Path, host: str, server: str = "servicebus") -> tuple[Path, Path]:
    """Write a new self-signed certificate for localhost and `host`; return the paths of (certificate, key).

    The certificate is its own authority: clients trust it by naming the file. Its key is readable by the owner only.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"polybus local {server}")])
    names: list[x509.GeneralName] = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(list(dict.fromkeys(names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Key usage and both identifiers: clients that check strictly ask for them (VERIFY_X509_STRICT, the default of
        # Python 3.13).
        .add_extension(_usage(x509), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    certificate_path, key_path = certificate_in(folder, server), folder / f"{server}-key.pem"
    key_path.touch(mode=0o600)
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate_path, key_path


def bundle_in(folder: Path, server: str = "servicebus") -> Path:
    """Return where `make_bundles` writes the certificate with those of the system's authorities."""
    return folder / f"{server}-bundle.pem"


def trust_store_in(folder: Path, server: str = "servicebus") -> Path:
    """Return where `make_bundles` writes the same as a key store of Java's."""
    return folder / f"{server}-trust.jks"


def make_bundles(certificate: Path, server: str = "servicebus") -> None:
    """Write, beside a certificate, files for runtimes that are told all that they trust: with the system's authorities.

    Java's store is of its oldest format (JKS), which every version reads: magic, version, entries, and a digest over
    them. Its password is Java's own default.
    """
    texts = _PEM.findall(certificate.read_text() + _system())
    folder = certificate.parent
    bundle_in(folder, server).write_text("\n".join(texts) + "\n")
    content = struct.pack(">III", 0xFEEDFEED, 2, len(texts))
    content += b"".join(_trusted(f"polybus{number}", text) for number, text in enumerate(texts))
    # The digest keeps nothing secret: it is how Java knows that the file is whole.
    seal = hashlib.sha1(STORE_PASSWORD.encode("utf-16-be") + b"Mighty Aphrodite" + content, usedforsecurity=False)
    trust_store_in(folder, server).write_bytes(content + seal.digest())


def _trusted(alias: str, text: str) -> bytes:
    def said(value: str) -> bytes:
        return struct.pack(">H", len(value)) + value.encode()

    encoded = ssl.PEM_cert_to_DER_cert(text)
    head = struct.pack(">I", 2) + said(alias) + struct.pack(">Q", 0) + said("X.509")
    return head + struct.pack(">I", len(encoded)) + encoded


def _system() -> str:
    """Return the certificates that this system trusts, where it keeps them in a file."""
    told: str | None = ssl.get_default_verify_paths().cafile
    found = next((Path(place) for place in (told or "", *SYSTEM) if Path(place).is_file()), None)
    return "" if found is None else found.read_text(errors="replace")


def _usage(x509: ModuleType) -> Any:
    """Return what the key is for: to serve, and to be its own authority."""
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


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
