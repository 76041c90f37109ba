"""Storing large bodies as they are published, and fetching them as they are handled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from polybus.binding import Binding
from polybus.blobs.blob import REFERENCE, Blob, BlobRefused, Fetching, reading
from polybus.blobs.store import Source, Store, in_memory
from polybus.bus.delivery import Delivery
from polybus.bus.resolve import find
from polybus.clock import Clock
from polybus.errors import BackendError, ConfigError, PublishFailed, UnsupportedFeature
from polybus.message import Message
from polybus.middleware import Middleware, Publication
from polybus.topology.quantities import parse_size

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from polybus.encryption.middleware import Encryption

__all__ = ["Blobs"]


class Blobs(Middleware, Fetching):
    """Puts bodies above a size into an object store, and gives handlers the body as it was.

    Without a `place` it is where the binding says that `polybus.connect()` would use here, and for the embedded
    backends a folder beside the store. `place` and `options` are those of `Store`, `bus` is the bus's name, that of the
    binding where it isn't said: objects are under `polybus/<bus>/`, and a reference to anything else is refused. `over`
    is the largest body that stays in its message, in bytes or as a text; a body over `largest` is refused on both
    sides, since it is in memory as a whole: what is larger goes as a `Blob`.

    With `encryption` messages are sealed first, so that what is stored is sealed too; it is then no middleware of its
    own. A `Blob` isn't sealed, so there are none of them with it.

    What isn't what was stored is dead-lettered with BlobRefused as the reason, and the message is then the reference,
    as it came. Nothing deletes an object but its age: dead letters and redrives refer to it still.
    """

    def __init__(
        self,
        place: str | Path | ObjectStore | Store | Binding | None = None,
        *,
        bus: str | None = None,
        over: int | str = "200KiB",
        largest: int | str = "256MiB",
        encryption: Encryption | None = None,
        options: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__()
        self._over = _bytes(over, "over")
        self._largest = _bytes(largest, "largest")
        self._encryption = encryption
        self._place = place
        self._bus = bus
        self._options = options
        self._clock = clock

    @cached_property
    def store(self) -> Store:
        """Where the objects are; raises ConfigError where nothing says where that is."""
        place, bus, options = self._place, self._bus, self._options
        if isinstance(place, Store):
            return place
        if bus is not None and not (place is None or isinstance(place, Binding)):
            return Store(place, bus=bus, options=options, clock=self._clock)
        binding = place if isinstance(place, Binding) else find(None).binding
        if place is None or isinstance(place, Binding):
            place, given = _place_of(binding)
            options = {**given, **(options or {})}
        return Store(place, bus=bus or binding.bus, options=options, clock=self._clock)

    async def put(self, source: Source | str, *, content_type: str | None = None) -> Blob:
        """Store bytes, the file at a path, or what comes in pieces; return a Blob to publish.

        It is streamed: what is in memory at a time is some 25 MiB, whatever its size. Raises BackendError where the
        store refuses or can't be reached, OSError for a file that can't be read, UnsupportedFeature with `encryption`.
        """
        if self._encryption is not None:
            raise UnsupportedFeature(
                "a Blob is stored as it is, and these Blobs seal what they publish: use others, without encryption="
            )
        return self.bind(await self.store.put(Path(source) if isinstance(source, str) else source, content_type))

    def bind(self, blob: Blob) -> Blob:
        """Return a blob that is fetched from here, for one that didn't come through this middleware."""
        mine = msgspec.structs.replace(blob)
        mine.__dict__["reader"] = self.store
        return mine

    @property
    def reader(self) -> Store:
        """What fetches blobs: the store."""
        return self.store

    async def sweep(self, older_than: float) -> int:
        """Delete the bus's objects that were stored more than so many seconds ago; return how many.

        For a folder, from time to time; raises UnsupportedFeature for a bucket or container, which has a rule for it.
        """
        return await self.store.sweep(older_than)

    async def publish(self, outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
        """Store a body that is too large, and pass on the reference in its place; raises what `offload` raises."""
        message = await self.offload(outgoing.message)
        return await proceed(outgoing if message is outgoing.message else outgoing.replace(message=message))

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        """Fetch a body that is elsewhere, and pass it on in its message; raise BlobRefused for what isn't it."""
        message = await self.fetch(delivery.message)
        token = reading.set(self.store)
        try:
            await proceed(delivery if message is delivery.message else delivery.with_message(message))
        finally:
            reading.reset(token)

    async def offload(self, message: Message) -> Message:
        """Return the message to send: this one, or the reference to its body.

        Raises PublishFailed where the store refuses or can't be reached, ValueError for a body over `largest`.
        """
        if self._encryption is not None:
            message = await self._encryption.seal(message)
        size = len(message.body)
        if size <= self._over:
            return message
        if size > self._largest:
            raise ValueError(
                f"a body of {size} bytes is over largest={self._largest}: publish `await blobs.put(...)` instead, "
                "which is never in memory as a whole"
            )
        try:
            blob = await self.store.put(message.body, message.content_type)
        except BackendError as error:
            raise PublishFailed((error.fault,)) from None
        return msgspec.structs.replace(message, body=blob.to_body(), content_type=REFERENCE)

    async def fetch(self, message: Message) -> Message:
        """Return a message as it was published; raise BlobRefused, or BackendError for what can't be reached."""
        if message.content_type == REFERENCE:
            blob = Blob.from_body(message.body)
            if blob.size > self._largest:
                raise BlobRefused(f"its body has {blob.size} bytes, and at most {self._largest} are taken into memory")
            body = await self.store.read(blob)
            message = msgspec.structs.replace(message, body=body, content_type=blob.type or None)
        return message if self._encryption is None else await self._encryption.open(message)


def _place_of(binding: Binding) -> tuple[str | Path | ObjectStore, Mapping[str, Any]]:
    """Return where a binding says that bodies are, and the options for it."""
    if binding.bodies is not None and binding.bodies.url:
        return binding.bodies.url, binding.bodies.options
    if isinstance(path := binding.settings.get("path"), str):
        return Path(path).parent / "bodies", {}
    if "store" in binding.settings:
        return in_memory(binding.settings["store"]), {}
    raise ConfigError(
        f"the binding of bus {binding.bus!r} says nothing of where large bodies go: give it bodies = "
        '{"url": "s3://bucket"}, or give the place to Blobs(...)'
    )


def _bytes(size: int | str, name: str) -> int:
    found = parse_size(size) if isinstance(size, str) else size
    if found is None or found < 0:
        raise ValueError(f'{name}={size!r}: a number of bytes, or a size such as "200KiB"')
    return found
