"""The signature of what SNS delivers, by a key and a certificate of this server's own.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html: the named fields in this order, each as
its name and value on lines of their own, signed with RSA over SHA-1 (version 1) or SHA-256 (version 2). Whoever
verifies as AWS says asks SNS's own host for the certificate, so that only who was told to trust this server can.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

__all__ = ["Signer"]

_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_VALID = timedelta(days=365)  # SNS changes its own about once a year; this one is made anew with each start


class Signer:
    """Signs documents; key and certificate are made when they are first needed, which takes a tenth of a second."""

    def sign(self, document: Mapping[str, Any], version: str) -> str:
        """Return the signature of a delivery, base64, in version 1 or 2."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA1, SHA256

        fields = _NOTIFICATION if document["Type"] == "Notification" else _CONFIRMATION
        text = "".join(f"{name}\n{document[name]}\n" for name in fields if name in document)
        # SHA-1 is what SNS's version 1 is, and its default still.
        digest = SHA256() if version == "2" else SHA1()  # noqa: S303
        return base64.b64encode(self._key.sign(text.encode(), PKCS1v15(), digest)).decode()

    @cached_property
    def certificate(self) -> bytes:
        """The certificate, PEM."""
        from cryptography import x509
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import Encoding

        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "polybus local SNS")])
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + _VALID)
        )
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)

    @cached_property
    def path(self) -> str:
        """Where the certificate is, from the server's address on."""
        return f"/SimpleNotificationService-{hashlib.sha256(self.certificate).hexdigest()[:32]}.pem"

    @cached_property
    def _key(self) -> Any:
        from cryptography.hazmat.primitives.asymmetric import rsa

        return rsa.generate_private_key(public_exponent=65_537, key_size=2048)
