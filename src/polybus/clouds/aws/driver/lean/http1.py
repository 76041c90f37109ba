"""Reading answers of HTTP/1.1, whole ones (RFC 9112): a head, and a body by length, by chunks, or to the end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum, auto

__all__ = ["Answer", "Malformed", "Reader"]

# More is no answer of SNS or SQS: ten messages of 1 MiB each, with every character escaped, are 60 MiB.
MOST_BODY = 96 * 1024 * 1024
MOST_HEAD = 64 * 1024
MOST_LINE = 1024
MOST_TRAILERS = 64

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?")
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?")
_DIGITS = re.compile(r"[0-9]{1,10}")
_WITHOUT_BODY = frozenset({204, 304})


class Malformed(Exception):
    """What came is no answer of HTTP/1.1."""


class Answer:
    """One answer; names of headers are in small letters. `reusable`: its connection can carry another request."""

    __slots__ = ("body", "headers", "reusable", "status")

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes, *, reusable: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.reusable = reusable


class _Next(Enum):
    """What the reader waits for."""

    HEAD = auto()
    LENGTH = auto()
    CHUNK = auto()
    TRAILER = auto()
    END = auto()


class Reader:
    """Reads one answer from what comes in pieces of any size; `tunnel`: to CONNECT, after which TLS follows."""

    __slots__ = (
        "_at",
        "_body",
        "_headers",
        "_keeps",
        "_length",
        "_next",
        "_received",
        "_status",
        "_trailers",
        "_tunnel",
    )

    def __init__(self, *, tunnel: bool = False) -> None:
        self._tunnel = tunnel
        self._received: bytes | bytearray = b""
        self._at = 0
        self._body = bytearray()
        self._headers: dict[str, str] = {}
        self._status = 0
        self._keeps = False
        self._length = 0
        self._trailers = 0
        self._next = _Next.HEAD

    def feed(self, data: bytes) -> Answer | None:
        """Take what came, and return the answer once it is whole; raise Malformed for anything else."""
        if not self._received:
            self._received = data  # nearly always all of it
        else:
            if isinstance(self._received, bytes):
                self._received = bytearray(self._received)
            self._received += data
        if self._next is _Next.HEAD and not self._read_head():
            return None
        if self._next is _Next.LENGTH:
            return self._read_length()
        if self._next is _Next.END:
            if len(self._received) - self._at > MOST_BODY:
                raise Malformed("a body without an end")
            return None
        return self._read_chunks()

    def end(self) -> Answer | None:
        """Return the answer that the end of the connection makes whole; None where it was cut off."""
        if self._next is not _Next.END:
            return None
        return Answer(self._status, self._headers, bytes(self._received[self._at :]), reusable=False)

    def _read_head(self) -> bool:
        """Read a head, and those of interim answers before it; say whether it is there."""
        while True:
            end = self._received.find(b"\r\n\r\n", self._at)
            if end < 0:
                if len(self._received) - self._at > MOST_HEAD:
                    raise Malformed("a head without an end")
                return False
            first, *lines = bytes(self._received[self._at : end]).split(b"\r\n")
            self._at = end + 4
            found = _STATUS.fullmatch(first)
            if found is None:
                raise Malformed("no status line of HTTP/1.1")
            self._status = int(found[2])
            if self._status == 101:
                raise Malformed("an upgrade that nobody asked for")
            if self._status >= 200:
                break
        headers = self._headers = _headers(lines)
        options = headers["connection"].lower() if "connection" in headers else ""
        self._keeps = "close" not in options and (found[1] == b"1" or "keep-alive" in options)
        self._choose_framing()
        return True

    def _choose_framing(self) -> None:
        headers = self._headers
        coding = headers.get("transfer-encoding")
        length = headers.get("content-length")
        if self._status in _WITHOUT_BODY or (self._tunnel and self._status < 300):
            self._next, self._length = _Next.LENGTH, 0
        elif coding is not None:
            # With a length beside it one of the two is wrong, and the connection no good afterwards (RFC 9112, 6.3).
            if coding.lower() != "chunked":
                raise Malformed("a transfer coding other than chunked")
            self._keeps = self._keeps and length is None
            self._next = _Next.CHUNK
        elif length is not None:
            lengths = {part.strip() for part in length.split(",")}
            text = lengths.pop()
            if lengths or _DIGITS.fullmatch(text) is None or int(text) > MOST_BODY:
                raise Malformed("a Content-Length that is none")
            self._next, self._length = _Next.LENGTH, int(text)
        else:
            self._next = _Next.END

    def _read_length(self) -> Answer | None:
        end = self._at + self._length
        if len(self._received) < end:
            return None
        return self._whole(bytes(self._received[self._at : end]), end)

    def _read_chunks(self) -> Answer | None:
        while True:
            line_end = self._received.find(b"\r\n", self._at)
            if line_end < 0:
                if len(self._received) - self._at > MOST_LINE:
                    raise Malformed("a line without an end")
                return None
            if self._next is _Next.TRAILER:
                empty = line_end == self._at
                self._at = line_end + 2
                if empty:
                    return self._whole(bytes(self._body), self._at)
                self._trailers += 1
                if self._trailers > MOST_TRAILERS:
                    raise Malformed("trailers without an end")
                continue
            size = _SIZE.fullmatch(bytes(self._received[self._at : line_end]))
            if size is None:
                raise Malformed("a chunk without a size")
            count = int(size[1], 16)
            if len(self._body) + count > MOST_BODY:
                raise Malformed("a body without an end")
            begin, end = line_end + 2, line_end + 2 + count
            if count == 0:
                self._at, self._next = begin, _Next.TRAILER
                continue
            if len(self._received) < end + 2:
                return None
            if self._received[end : end + 2] != b"\r\n":
                raise Malformed("a chunk that is longer than it says")
            self._body += self._received[begin:end]
            self._at = end + 2

    def _whole(self, body: bytes, end: int) -> Answer:
        # What comes behind an answer that nobody asked for belongs to no request.
        keeps = self._keeps and end == len(self._received)
        return Answer(self._status, self._headers, body, reusable=keeps)


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or _NAME.fullmatch(name) is None:
            raise Malformed("a header without a name")
        key, text = name.decode("ascii").lower(), value.strip(b" \t").decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found
