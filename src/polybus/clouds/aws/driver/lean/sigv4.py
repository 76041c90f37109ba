"""Signature Version 4, as botocore's SigV4Auth makes it (IAM user guide, "Create a signed AWS API request").

All that stays the same from one request to the next is put together once: of a request's signature the digest of its
body, its time and its credentials are new.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from botocore.auth import SIGNED_HEADERS_BLACKLIST
from botocore.utils import normalize_url_path

__all__ = ["Keys", "Signer", "signing_key", "stamp_of"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_DATE, _TOKEN = "x-amz-date", "x-amz-security-token"
_UNSIGNED = frozenset(SIGNED_HEADERS_BLACKLIST)


class Keys(NamedTuple):
    """Credentials at one moment."""

    access_key: str
    secret_key: str
    token: str | None


def stamp_of(seconds: float) -> str:
    """Return a time as signatures have it, from seconds since the epoch."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """Return the key that signs all requests of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class Signer:
    """Signs requests that differ in body, time and credentials alone.

    `headers` are those that every request has, `Host` among them; those that SigV4 leaves out are passed over.
    """

    def __init__(self, method: str, url: str, headers: Iterable[tuple[str, str]], region: str, service: str) -> None:
        parts = urlsplit(url)
        path = quote(normalize_url_path(parts.path), safe="/~")
        self._head = f"{method.upper()}\n{path}\n{_query(parts.query)}\n"
        self._region = region
        self._service = service
        named = _named(headers)
        # Before the date, between it and the token, and after both, in the order that signatures have them in.
        self._first = "".join(f"{name}:{value}\n" for name, value in named if name < _DATE)
        self._middle = "".join(f"{name}:{value}\n" for name, value in named if _DATE < name < _TOKEN)
        self._last = "".join(f"{name}:{value}\n" for name, value in named if name > _TOKEN)
        names = [name for name, _ in named]
        self._names = ";".join(sorted([*names, _DATE]))
        self._names_with_token = ";".join(sorted([*names, _DATE, _TOKEN]))
        self._key: tuple[str, str, bytes] = ("", "", b"")

    def authorization(self, keys: Keys, stamp: str, body: bytes) -> str:
        """Return the Authorization header of a request that has `stamp` as X-Amz-Date, and the token in its own."""
        if keys.token:
            names = self._names_with_token
            token = f"{_TOKEN}:{_trimmed(keys.token)}\n"
        else:
            names, token = self._names, ""
        digest = hashlib.sha256(body).hexdigest()
        headers = f"{self._first}{_DATE}:{stamp}\n{self._middle}{token}{self._last}"
        canonical = f"{self._head}{headers}\n{names}\n{digest}"
        day = stamp[:8]
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashed}"
        signature = hmac.digest(self._signing_key(keys.secret_key, day), to_sign.encode(), "sha256").hex()
        return f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"

    def _signing_key(self, secret: str, day: str) -> bytes:
        known_secret, known_day, key = self._key
        if day != known_day or secret != known_secret:
            key = signing_key(secret, day, self._region, self._service)
            self._key = (secret, day, key)  # as one: threads that sign at once see a whole one
        return key


def _named(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        lowered = name.lower()
        if lowered not in _UNSIGNED and lowered not in (_DATE, _TOKEN, "authorization"):
            found.setdefault(lowered, []).append(_trimmed(value))
    return sorted((name, ",".join(values)) for name, values in found.items())


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _query(query: str) -> str:
    if not query:
        return ""
    pairs = (pair.partition("=") for pair in query.split("&"))
    return "&".join(f"{name}={value}" for name, value in sorted((name, value) for name, _, value in pairs))
