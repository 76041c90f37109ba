"""Keys of a test's own: a certificate as SNS's and as Google's, and what they sign."""

from __future__ import annotations

import base64
import datetime
import json
import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from google.auth import crypt, jwt

from polybus.serverless.fetch import Fetched

AUDIENCE = "https://shop.example.run.app"
ACCOUNT = "push@myproject.iam.gserviceaccount.com"


def stamp(age: float = 0.0) -> str:
    """Return a time as SNS writes it, some seconds ago."""
    found = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    return f"{found:%Y-%m-%dT%H:%M:%S}.{found.microsecond // 1000:03d}Z"


class Signer:
    """A key, and its certificate, valid from yesterday for `days`."""

    def __init__(self, days: int = 30) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
        start = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.key.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + datetime.timedelta(days=days))
            .sign(self.key, SHA256())
            .public_bytes(Encoding.PEM)
        )

    def sign_sns(self, document: dict[str, Any], version: str = "1") -> dict[str, Any]:
        """Sign as SNS documents it; the string to sign is written out here once more, on purpose."""
        document = {**document, "SignatureVersion": version}
        if document["Type"] == "Notification":
            names = ["Message", "MessageId", *(["Subject"] if "Subject" in document else [])]
            names += ["Timestamp", "TopicArn", "Type"]
        else:
            names = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "\n".join(part for name in names for part in (name, document[name])) + "\n"
        digest = SHA1() if version == "1" else SHA256()
        signature = self.key.sign(text.encode(), padding.PKCS1v15(), digest)
        return {**document, "Signature": base64.b64encode(signature).decode()}

    def token(self, **changed: object) -> str:
        """Return a token as Google signs for a push subscription."""
        now = int(time.time())
        claims = {
            "aud": AUDIENCE,
            "azp": "113774264463038321964",
            "email": ACCOUNT,
            "email_verified": True,
            "exp": now + 3600,
            "iat": now,
            "iss": "https://accounts.google.com",
            "sub": "113774264463038321964",
            **changed,
        }
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        token = jwt.encode(crypt.RSASigner.from_string(pem, key_id="k1"), claims)
        return token.decode()


@cache
def signer() -> Signer:
    return Signer()


class Web:
    """The addresses that a verifier fetches, and what they answer."""

    def __init__(self, pages: Mapping[str, Fetched]) -> None:
        self.pages = dict(pages)
        self.asked: list[str] = []

    def __call__(self, url: str) -> Fetched:
        self.asked.append(url)
        return self.pages.get(url, Fetched(404, {}, b""))


def google_keys(by: Signer, max_age: int = 3600) -> Fetched:
    keys = json.dumps({"k1": by.certificate.decode()}).encode()
    return Fetched(200, {"Cache-Control": f"public, max-age={max_age}, must-revalidate"}, keys)
