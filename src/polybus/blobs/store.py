"""Storing and fetching objects through obstore, in pieces, with what they hash to."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from itertools import accumulate
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from polybus.blobs.blob import Blob, BlobRefused, age_of, prefix_of
from polybus.clock import Clock, SystemClock
from polybus.errors import BackendError, ConfigError, Fault, FaultKind, MissingExtra, UnsupportedFeature

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["Source", "Store", "in_memory"]

Source = bytes | Path | AsyncIterable[bytes]

# What is uploaded at a time, and how many of these at once: together they are what an upload holds in memory. S3 takes
# 10,000 parts of an object, so 8 MiB each allow 78 GiB.
PART = 8 * 1024 * 1024
PARTS = 3
# What is read from a file or from the store at a time.
CHUNK = 1024 * 1024


class Store:
    """The objects of one bus, in a bucket, container or folder.

    `place` is `s3://bucket`, `gs://bucket`, `az://container`, the path of a folder, or a store of obstore's own.
    `options` are those of obstore for that place: a region, an endpoint, the name of the account on Azure. Credentials
    come from where obstore finds them: the environment, the workload's identity; they belong neither here nor in a URL.
    Raises ConfigError for a place that is none, MissingExtra without obstore.
    """

    def __init__(
        self,
        place: str | Path | ObjectStore,
        *,
        bus: str,
        options: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        try:
            import obstore
        except ImportError:
            raise MissingExtra("obstore", "blobs") from None
        self._obstore = obstore
        self.prefix = prefix_of(bus)
        self._clock = clock or SystemClock()
        self._folder = _folder(place)
        self._store = self._opened(place, options or {})
        self.place = (self._folder or (place if isinstance(place, str) else id(place)), self.prefix)
        self.name = str(self._folder or (_shown(place) if isinstance(place, str) else type(place).__name__))

    def _opened(self, place: str | Path | ObjectStore, options: Mapping[str, Any]) -> ObjectStore:
        from obstore.store import LocalStore, from_url

        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            return LocalStore(self._folder)
        if not isinstance(place, str):
            return cast("ObjectStore", place)
        try:
            return from_url(place, **options)
        except (self._obstore.exceptions.BaseError, ValueError, TypeError) as error:
            # Not what obstore says: it quotes what it was given, and that may hold a key.
            raise ConfigError(
                f"{_shown(place)} is no place for bodies ({type(error).__name__}); allowed: s3://bucket, gs://bucket, "
                "az://container, or the path of a folder, with the options that obstore has for it"
            ) from None

    # Storing ----------------------------------------------------------------------------------------------------------

    async def put(self, source: Source, content_type: str | None = None) -> Blob:
        """Store bytes, a file, or what comes in pieces; return what a message says of it once it is durably there.

        Raises BackendError where the store refuses or can't be reached, and whatever the source raises: then nothing
        is there.
        """
        key = f"{self.prefix}/{int(self._clock.time() * 1000):012x}-{os.urandom(16).hex()}"
        measured = _Measured(source)
        try:
            with self._faults():
                if isinstance(source, bytes) and len(source) <= PART:
                    measured.add(source)
                    await self._obstore.put_async(self._store, key, source, use_multipart=False)
                else:
                    pieces = measured.pieces()
                    await self._obstore.put_async(self._store, key, pieces, chunk_size=PART, max_concurrency=PARTS)
        except Exception:
            if measured.failure is not None:
                raise measured.failure from None
            raise
        if self._folder is not None:
            await asyncio.to_thread(_synced, self._folder, key)
        return Blob(key, measured.size, measured.digest(), content_type or "")

    # Fetching ---------------------------------------------------------------------------------------------------------

    async def iter(self, blob: Blob, chunk: int = CHUNK) -> AsyncIterator[bytes]:
        """Give an object in pieces of about `chunk` bytes; after the last, raise BlobRefused if it wasn't what is said.

        Raises that at once for a reference to something outside of the bus's own, and for another length.
        """
        blob.check(self.prefix)
        found = hashlib.sha256()
        size = 0
        with self._faults():
            result = await self._obstore.get_async(self._store, blob.key)
            if result.meta["size"] != blob.size:
                raise BlobRefused(f"the object has {result.meta['size']} bytes, and the message says {blob.size}")
            async for piece in result.stream(min_chunk_size=chunk):
                size += len(piece)
                found.update(piece)
                yield bytes(piece)
        if size != blob.size or found.hexdigest() != blob.sha256:
            raise BlobRefused("the object isn't the one that was stored: its SHA-256 is another")

    async def read(self, blob: Blob) -> bytes:
        """Return an object, verified."""
        return b"".join([piece async for piece in self.iter(blob)])

    async def save(self, blob: Blob, path: Path) -> None:
        """Write an object to a file, which appears once it is verified; what was there stays until then."""
        # Not by tempfile, whose files are for their owner alone: this one is as the umask says.
        half = path.with_name(f".{path.name[:40]}.{os.urandom(8).hex()}")
        try:
            with await asyncio.to_thread(half.open, "xb") as file:
                await self._written(blob, file)
            await asyncio.to_thread(half.replace, path)
        except BaseException:
            half.unlink(missing_ok=True)
            raise

    @asynccontextmanager
    async def open(self, blob: Blob) -> AsyncIterator[IO[bytes]]:
        """Give an object as an open file without a name, verified."""
        with tempfile.TemporaryFile() as file:
            await self._written(blob, file)
            file.seek(0)
            yield file

    async def _written(self, blob: Blob, file: IO[bytes]) -> None:
        async for piece in self.iter(blob):
            await asyncio.to_thread(file.write, piece)
        file.flush()

    # Ending -----------------------------------------------------------------------------------------------------------

    async def sweep(self, older_than: float) -> int:
        """Delete the bus's objects that were stored more than so many seconds ago; return how many.

        Raises UnsupportedFeature for what isn't a folder: a bucket or container has a rule of its own for it.
        """
        if self._folder is None:
            raise UnsupportedFeature(f"{self.name} isn't a folder: a rule of its own deletes what is old there")
        return await asyncio.to_thread(_swept, self._folder / self.prefix, self._clock.time(), older_than)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Say in polybus's words what obstore raises, and without its text: that has URLs, which may be signed."""
        errors = self._obstore.exceptions
        try:
            yield
        except FileNotFoundError:
            raise self._fault(FaultKind.NOT_FOUND, "it isn't there: it expired, was deleted, or is elsewhere") from None
        except errors.PermissionDeniedError:
            raise self._fault(FaultKind.DENIED, "this workload hasn't the right to it") from None
        except errors.UnauthenticatedError:
            raise self._fault(FaultKind.UNAUTHENTICATED, "no credentials, or not accepted ones") from None
        except errors.BaseError as error:
            raise self._fault(FaultKind.UNAVAILABLE, f"it failed ({type(error).__name__})") from None

    def _fault(self, kind: FaultKind, why: str) -> BackendError:
        return BackendError(Fault(kind, f"a body in {self.name}: {why}"))


_IN_MEMORY: dict[object, ObjectStore] = {}


def in_memory(name: object) -> ObjectStore:
    """Return the process's own place for the bodies of a bus in memory, making it the first time."""
    from obstore.store import MemoryStore

    if name not in _IN_MEMORY:
        _IN_MEMORY[name] = MemoryStore()
    return _IN_MEMORY[name]


class _Measured:
    """Counts and hashes what is uploaded as it passes."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = hashlib.sha256()
        self.size = 0
        self.failure: Exception | None = None

    def add(self, piece: bytes) -> None:
        self._hash.update(piece)
        self.size += len(piece)

    def digest(self) -> str:
        return self._hash.hexdigest()

    async def pieces(self) -> AsyncIterator[bytes]:
        try:
            async for piece in _pieces(self._source):
                self.add(piece)
                yield piece
        except Exception as error:
            self.failure = error
            raise


async def _pieces(source: Source) -> AsyncIterator[bytes]:
    if isinstance(source, bytes):
        for start in range(0, len(source), CHUNK):
            yield source[start : start + CHUNK]
    elif isinstance(source, Path):
        file = await asyncio.to_thread(source.open, "rb")
        with file:
            while piece := await asyncio.to_thread(file.read, CHUNK):
                yield piece
    else:
        async for piece in source:
            yield bytes(piece)


def _folder(place: object) -> Path | None:
    """Return the folder that a place is; None for any other."""
    if isinstance(place, Path):
        return place.absolute()
    if not isinstance(place, str):
        return None
    if place.startswith("file://"):
        return Path(unquote(urlsplit(place).path))
    return None if "://" in place else Path(place).absolute()


def _shown(url: str) -> str:
    """Return a URL without what may be secret in it."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _swept(folder: Path, now: float, older_than: float) -> int:
    gone = 0
    for path in folder.glob("*"):
        age = age_of(path.name, now)
        if age is not None and age > older_than:
            path.unlink(missing_ok=True)
            gone += 1
    return gone


def _synced(folder: Path, key: str) -> None:
    """Have a file and its name outlast a loss of power: a message that refers to it may."""
    for part in ("", *accumulate(key.split("/"), "{}/{}".format)):
        handle = os.open(folder / part, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
