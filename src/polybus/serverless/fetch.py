"""Fetching certificates and confirmations over HTTPS, with the standard library."""

from __future__ import annotations

import ipaddress
import os
import re
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

__all__ = ["CertificateCache", "Fetch", "Fetched", "Unreachable", "fetch", "local_endpoint"]

# Seconds for one request. Pub/Sub waits for the ack deadline (10 s at least), SNS 15 s (its developer guide): the
# answer must still get out.
TIMEOUT = 5.0
# Bytes that an answer may have: certificates take 2 KB each, an XML confirmation less.
LONGEST = 256 * 1024
# Seconds that certificates are kept at most, whatever their sender allows: Google's keys change within days, and what
# is withdrawn must be forgotten.
LONGEST_KEPT = 86_400.0


class Unreachable(Exception):
    """An address that is needed to verify a request doesn't answer; the sender should try again."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer to a GET."""

    status: int
    headers: Mapping[str, str]
    data: bytes


Fetch = Callable[[str], Fetched]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """Follow none: the host that was checked is the host that answers."""
        return


def local_endpoint() -> str | None:
    """Return where a local SNS is, scheme, host and port, if the environment names a loopback address; else None."""
    named = os.environ.get("AWS_ENDPOINT_URL_SNS") or os.environ.get("AWS_ENDPOINT_URL") or ""
    try:
        parts = urlsplit(named)
        loopback = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return None
    return f"{parts.scheme}://{parts.netloc}" if loopback and parts.scheme in ("http", "https") else None


def fetch(url: str) -> Fetched:
    """GET an https address, or one of a local SNS; blocks.

    Raises ValueError for any other, Unreachable where nothing answers.
    """
    parts = urlsplit(url)
    local = f"{parts.scheme}://{parts.netloc}" == local_endpoint()
    if parts.scheme != "https" and not local:
        raise ValueError(f"not fetched, because it isn't https: {url}")
    # Made anew: from Python 3.12 on an opener reads the trusted authorities as it is made, and these may change. What
    # runs on this machine isn't reached through a proxy.
    handlers = [urllib.request.ProxyHandler({})] if local else []
    opener = urllib.request.build_opener(_NoRedirect, *handlers)
    try:
        with opener.open(url, timeout=TIMEOUT) as answer:
            return Fetched(answer.status, dict(answer.headers), _read(answer, url))
    except HTTPError as error:
        with error:
            return Fetched(error.code, dict(error.headers), b"")
    except (URLError, OSError, HTTPException) as error:
        raise Unreachable(f"{url}: {error!r}") from error


def _read(answer: Any, url: str) -> bytes:
    """Read an answer within the limits: the timeout of its socket begins anew with each byte."""
    until, parts = time.monotonic() + TIMEOUT, bytearray()
    while part := answer.read1(LONGEST):
        parts += part
        if len(parts) > LONGEST:
            raise Unreachable(f"{url}: answered with more than {LONGEST} bytes")
        if time.monotonic() > until:
            raise Unreachable(f"{url}: the answer took longer than {TIMEOUT:g} s")
    if answer.length:
        raise Unreachable(f"{url}: the answer ended {answer.length} bytes early")
    return bytes(parts)


class CertificateCache:
    """A transport for google-auth that asks for certificates as seldom as their sender wants (Cache-Control)."""

    def __init__(self, fetch: Fetch = fetch, now: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._now = now
        self._kept: dict[str, tuple[float, Fetched]] = {}

    def __call__(self, url: str, method: str = "GET", **options: Any) -> Fetched:
        """Answer as google.auth.transport.Request does, for what google-auth asks for keys."""
        kept = self._kept.get(url)
        if kept is not None and self._now() < kept[0]:
            return kept[1]
        fetched = self._fetch(url)
        if fetched.status == HTTPStatus.OK:
            self._kept[url] = (self._now() + _max_age(fetched.headers), fetched)
        return fetched


def _max_age(headers: Mapping[str, str]) -> float:
    control = next((value for name, value in headers.items() if name.lower() == "cache-control"), "")
    found = re.search(r"max-age=(\d+)", control)
    return min(float(found[1]), LONGEST_KEPT) if found else 0.0
