"""Bindings that are named and not given: by a URL, or by where a cloud keeps them."""

from __future__ import annotations

import re
from pathlib import Path

from polybus.errors import BindingError
from polybus.registry import each

__all__ = ["read", "scheme_of"]

TIMEOUT = 10  # seconds for each step of a download
LARGEST = 16 << 20  # bytes; a binding of 10,000 subscriptions has 5.5 MB


def scheme_of(text: str) -> str | None:
    """Return the scheme of a reference, such as `ssm`; None for what is a file's path."""
    found = re.match(r"([a-z][a-z0-9]+):", text)
    return None if found is None or Path(text).exists() else found[1]


def read(text: str, origin: str) -> str:
    """Return the JSON that a reference stands for; raise BindingError where it can't be had, MissingExtra."""
    scheme = scheme_of(text)
    if scheme == "file":
        return _file(text, origin)
    if scheme == "https":
        return _download(text, origin)
    readers = {known: cloud for cloud in each("reference") for known in cloud.schemes}
    if scheme in readers:
        try:
            found: str = readers[scheme].load("reference")(text)
        except BindingError as error:
            raise BindingError(f"{origin} names {error}") from error
        return found
    from polybus.topology.table import nearest  # it is all of the topology, which deployed services don't read

    allowed = (*sorted(readers), "file", "https")
    near = nearest(scheme or "", allowed)
    hint = f"; did you mean {near}:?" if near else ""
    raise BindingError(
        f"{origin}: found {text!r}; allowed: a binding's JSON, a file's path, `embedded`, or a reference that begins "
        f"with {', '.join(f'{one}:' for one in allowed)}{hint}"
    )


def _file(text: str, origin: str) -> str:
    from urllib.parse import unquote, urlsplit

    path = Path(unquote(urlsplit(text).path))
    try:
        return path.read_text()
    except OSError as error:
        raise BindingError(f"{path}: {error.strerror or error}; {origin} names it") from None


def _download(text: str, origin: str) -> str:
    from http.client import HTTPException
    from urllib.error import URLError
    from urllib.request import urlopen

    try:
        with urlopen(text, timeout=TIMEOUT) as answer:  # noqa: S310 - the scheme was looked at
            body: bytes = answer.read(LARGEST + 1)
        if len(body) > LARGEST:
            raise BindingError(f"{text}: more than {LARGEST:,} bytes are no binding; {origin} names it")
        return body.decode()
    except (URLError, HTTPException, OSError, UnicodeDecodeError) as error:
        raise BindingError(f"{text}: {error}; {origin} names it") from error
