"""Who delivers: the signature that SNS puts on what it posts to HTTPS endpoints.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html: the named fields in this order, each as
its name and value on lines of their own, signed with RSA over SHA-1 (version 1) or SHA-256 (version 2).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from polybus.clock import Clock, SystemClock
from polybus.errors import MissingExtra
from polybus.serverless.failure import Unverified
from polybus.serverless.fetch import Fetch, Unreachable, fetch, local_endpoint

__all__ = ["SnsSignatures", "check_host"]

_HOST = re.compile(r"sns\.[a-z0-9-]{3,32}\.amazonaws\.com(\.cn)?")
# One file of that host and no query: with one, the same host runs actions, which answer with texts of their callers'.
_CERTIFICATE = re.compile(r"https?://[a-z0-9.:-]+/[A-Za-z0-9_-]+\.pem")
_VISIBLE = re.compile(r"[!-~]*")
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_FIELDS = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
# SNS signs with one certificate for a region at a time, and changes it about once a year.
MOST_CERTIFICATES = 16


def check_host(url: object, what: str) -> str:
    """Return an address if it is one of SNS's own; raise Unverified where it isn't.

    Where the environment says that SNS is at a loopback address (AWS_ENDPOINT_URL_SNS, AWS_ENDPOINT_URL), that one is
    its own too: a local server signs with a key of its own.
    """
    # Parsers drop some of the other characters, so that what is checked wouldn't be what is asked for.
    text = url if isinstance(url, str) and _VISIBLE.fullmatch(url) else ""
    try:
        parts = urlsplit(text)
        good = parts.scheme == "https" and _HOST.fullmatch(parts.netloc) is not None
        good = good or (text != "" and f"{parts.scheme}://{parts.netloc}" == local_endpoint())
    except ValueError:
        good = False
    if not good:
        raise Unverified(f"{what} is not at https://sns.<region>.amazonaws.com: {str(url)[:200]!r}")
    return text


class SnsSignatures:
    """Verifies that a delivery is signed by SNS, with a certificate that comes from SNS's own host over HTTPS.

    `fetch` gets the certificate. Raises MissingExtra where cryptography isn't installed.
    """

    def __init__(self, *, fetch: Fetch = fetch, clock: Clock | None = None) -> None:
        try:
            from cryptography import x509
        except ModuleNotFoundError:
            raise MissingExtra("cryptography", "serverless") from None
        self._load: Any = x509.load_pem_x509_certificate
        self._fetch = fetch
        self._clock = clock or SystemClock()
        self._certificates: dict[str, Any] = {}

    def __call__(self, document: Mapping[str, Any]) -> None:
        """Return where the signature is good; raise Unverified where not, Unreachable without a certificate. Blocks."""
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA1, SHA256

        # SHA-1 is what version 1 is, and SNS's default still; a topic with SignatureVersion 2 signs with SHA-256.
        digests: dict[str, Any] = {"1": SHA1, "2": SHA256}
        version = str(document.get("SignatureVersion"))
        digest = digests.get(version)
        if digest is None:
            raise Unverified(f"SignatureVersion {version[:20]!r} is not 1 or 2")
        signed = _signed(document)
        key = self._certificate(check_host(document.get("SigningCertURL"), "SigningCertURL")).public_key()
        try:
            signature = base64.b64decode(str(document.get("Signature", "")), validate=True)
            key.verify(signature, signed, PKCS1v15(), digest())
        except (InvalidSignature, ValueError, TypeError, AttributeError):
            raise Unverified("the signature is not that of the certificate that it names") from None

    def _certificate(self, url: str) -> Any:
        found = self._certificates.get(url)
        if found is None:
            found = self._fetched(url)
            if len(self._certificates) >= MOST_CERTIFICATES:
                self._certificates.clear()
            self._certificates[url] = found
        now = self._clock.time()
        if not found.not_valid_before_utc.timestamp() <= now <= found.not_valid_after_utc.timestamp():
            raise Unverified(f"the certificate at {url} is valid at another time")
        return found

    def _fetched(self, url: str) -> Any:
        if _CERTIFICATE.fullmatch(url) is None:
            raise Unverified(f"SigningCertURL is no certificate's: {url[:200]!r}")
        answer = self._fetch(url)
        if answer.status != HTTPStatus.OK:
            raise Unreachable(f"{url}: answered {answer.status}")
        try:
            return self._load(answer.data)
        except ValueError:
            raise Unreachable(f"{url}: answered with something that is no certificate") from None


def _signed(document: Mapping[str, Any]) -> bytes:
    fields = _FIELDS.get(str(document.get("Type")))
    if fields is None:
        raise Unverified(f"Type {str(document.get('Type'))[:40]!r} is none of SNS's")
    for name in fields:
        if not isinstance(document.get(name, ""), str):
            raise Unverified(f"{name} is no text: SNS signs nothing else")
    lines = [f"{name}\n{document[name]}\n" for name in fields if name in document]
    return "".join(lines).encode()
