"""What a message says of a body that is elsewhere: where, how long, and what it hashes to (docs/wire.md)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any, Protocol
from weakref import WeakSet

import msgspec

from polybus.errors import DeadLetter

__all__ = ["REFERENCE", "Blob", "BlobRefused", "Fetching", "Reader", "age_of", "prefix_of", "reading"]

REFERENCE = "application/vnd.polybus.blob+json"
"""The content type of a message whose whole body is elsewhere."""

# Objects are at <prefix>/<milliseconds since the epoch, 12 hexadecimal digits>-<32 more, random>. The time is that of
# the upload, by the publisher's clock: where no rule of a cloud deletes what is old, a sweep knows its age by it.
_NAME = re.compile(r"[0-9a-f]{12}-[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


class BlobRefused(DeadLetter):
    """An object isn't what its message says, or the message says what no publisher of this bus does.

    No other attempt changes that, so a handler that lets it pass has the message dead-lettered with it as the reason.
    """

    def __init__(self, why: str) -> None:
        super().__init__("BlobRefused", why)


class Reader(Protocol):
    """What fetches a blob's bytes; each raises what `Blob.read` raises."""

    @property
    def place(self) -> object:
        """Where from; the same of two that read the same."""

    def iter(self, blob: Blob, chunk: int) -> AsyncIterator[bytes]:
        """Do what `Blob.iter` says."""

    async def read(self, blob: Blob) -> bytes:
        """Do what `Blob.read` says."""

    async def save(self, blob: Blob, path: Path) -> None:
        """Do what `Blob.save_to` says."""

    def open(self, blob: Blob) -> AbstractAsyncContextManager[IO[bytes]]:
        """Do what `Blob.open` says."""


reading: ContextVar[Reader | None] = ContextVar("polybus_blobs_reading", default=None)
"""What the blobs of a message that is decoded here are fetched by."""

# What may fetch the others: those of a batch, which is decoded outside of its middleware, of `bus.consume`, and in a
# handler's own process, which has the middleware of the module that it imports and is called through none.
_known: WeakSet[Fetching] = WeakSet()


class Fetching:
    """What has a reader, and is the process's for blobs that came by no middleware, as long as there is no other."""

    def __init__(self) -> None:
        _known.add(self)

    @property
    def reader(self) -> Reader:
        """What fetches them."""
        raise NotImplementedError


class Blob(msgspec.Struct, frozen=True, dict=True, omit_defaults=True):
    """Bytes in an object store: a field of what is published, or all of it.

    `Blobs.put` makes one; published, it is a reference of some 200 bytes. What a handler gets is fetched when it is
    asked for, and verified: `size` in bytes and `sha256` in hexadecimal are what was stored. `type` is the content type
    of what it stands for, "" where nobody said. A blocking handler calls `asyncio.run(blob.read())`, or any other.
    """

    key: str = msgspec.field(name="blob")
    size: int
    sha256: str
    type: str = ""

    def __post_init__(self) -> None:
        """Remember what fetches it: a handler that keeps it may read it later."""
        reader = reading.get()
        if reader is not None:
            self.__dict__["reader"] = reader

    def __repr__(self) -> str:
        return f"Blob({self.key!r}, {self.size} bytes)"

    @property
    def _reader(self) -> Reader:
        reader: Reader | None = self.__dict__.get("reader") or reading.get()
        if reader is not None:
            return reader
        readers = [each.reader for each in list(_known)]
        places = {reader.place for reader in readers}
        if len(places) != 1:
            there = f"{len(places)}, and nothing says which" if places else "none"
            raise RuntimeError(f"this blob came by no polybus.blobs.Blobs, and this process has {there}: Blobs.bind")
        return readers[0]

    async def read(self) -> bytes:
        """Return all of it, verified.

        Raises BlobRefused for what isn't what was stored, BackendError where it is gone or can't be reached.
        """
        return await self._reader.read(self)

    def iter(self, chunk: int = 1 << 20) -> AsyncIterator[bytes]:
        """Give it in pieces of about `chunk` bytes; whether all are good is known after the last, which raises if not.

        Raises what `read` raises.
        """
        return self._reader.iter(self, chunk)

    async def save_to(self, path: Path | str) -> None:
        """Write it to a file, which is there once all of it is, verified, and not before; raises what `read` raises."""
        await self._reader.save(self, Path(path))

    def open(self) -> AbstractAsyncContextManager[IO[bytes]]:
        """Return it as an open file, as `async with blob.open() as file`, verified before the first byte is read.

        It is on the local disk meanwhile, in the folder for temporary files. Raises what `read` raises.
        """
        return self._reader.open(self)

    def to_body(self) -> bytes:
        """Return the body of a message that stands for this blob."""
        return msgspec.json.encode(self)

    @classmethod
    def from_body(cls, body: bytes) -> Blob:
        """Read such a body; raises BlobRefused where it isn't one."""
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.DecodeError, ValueError, RecursionError):
            raise BlobRefused("the message is no reference to a body elsewhere") from None

    def check(self, prefix: str) -> None:
        """Raise BlobRefused for what no publisher of the bus whose objects are under `prefix` refers to."""
        start, _, name = self.key.rpartition("/")
        if start != prefix or _NAME.fullmatch(name) is None:
            raise BlobRefused(f"the reference is to something outside of {prefix}/")
        if self.size < 0 or _SHA256.fullmatch(self.sha256) is None:
            raise BlobRefused("the reference has no size, or no SHA-256")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Tell pydantic how it reads and writes one."""
        from pydantic_core import core_schema

        def validate(value: object) -> Blob:
            return value if isinstance(value, Blob) else msgspec.convert(value, cls)

        written = core_schema.plain_serializer_function_ser_schema(msgspec.to_builtins)
        return core_schema.no_info_plain_validator_function(validate, serialization=written)


def prefix_of(bus: str) -> str:
    """Return where the objects of a bus are, within its store."""
    return f"polybus/{bus}"


def age_of(key: str, now: float) -> float | None:
    """Return the seconds since an object was stored, by its name; None for what isn't one of ours."""
    name = key.rpartition("/")[2]
    return now - int(name[:12], 16) / 1000 if _NAME.fullmatch(name) is not None else None
