"""Sealing what is published, and opening what is handled."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping

import msgspec

from polybus.blobs.blob import REFERENCE
from polybus.bus.delivery import Delivery
from polybus.bus.outgoing import new_id
from polybus.encryption.sealed import SEALED, DecryptionFailed, associated, key_id_of, opened, sealed
from polybus.errors import ConfigError
from polybus.message import Message
from polybus.middleware import Middleware, Publication

__all__ = ["Encryption", "Keys"]

Keys = Callable[[str], bytes | Awaitable[bytes]]
"""Returns the 32 bytes of the key with an id; raises KeyError where there is none, and anything where it can't tell."""

# Where a trace goes on is for who has no key too: a collector, and the hooks of polybus, which see messages sealed.
_TRACE = frozenset({"traceparent", "tracestate", "baggage"})


_WITH_BLOBS = "where large bodies are stored, give this to them: Blobs(..., encryption=...)"


class Encryption(Middleware):
    """Seals every message with AES-256-GCM before it leaves, and opens it before a handler sees it.

    `keys` returns the key of an id; `current` is the id that messages are sealed with, or returns it, for a rotation
    without a restart. `context` says where messages belong, usually the bus's name: it has to be the same on both
    sides, and what was sealed elsewhere isn't opened. `clear` names the attributes that stay readable, those that
    filters name among them; all others are sealed. An ordering key stays in clear. What isn't sealed is refused unless
    `plain` says that it is taken, which is for the time in which publishers are changed over.

    `keys` is asked for each message; it keeps what it has fetched. A message that can't be opened is dead-lettered, as
    it came, with DecryptionFailed as the reason. An error of `keys` other than KeyError is a failed attempt.
    """

    def __init__(
        self,
        keys: Keys,
        current: str | Callable[[], str],
        *,
        context: str,
        clear: Collection[str] = (),
        plain: bool = False,
    ) -> None:
        if isinstance(clear, str):
            raise TypeError("clear is several names of attributes, and was given one text")
        self._keys = keys
        self._current = current
        self._context = context
        self._clear = frozenset(clear)
        self._plain = plain

    async def publish(self, outgoing: Publication, proceed: Callable[[Publication], Awaitable[str]]) -> str:
        """Seal a message and pass it on."""
        return await proceed(outgoing.replace(message=await self.seal(outgoing.message)))

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        """Open a message and pass it on; raise DecryptionFailed for what can't be opened."""
        await proceed(delivery.with_message(await self.open(delivery.message)))

    async def seal(self, message: Message) -> Message:
        """Return a message whose body, content type and attributes are sealed, but for those in clear.

        Raises what `keys` raises, ValueError for a key that is none, ConfigError for what is a reference already.
        """
        if message.content_type == REFERENCE:
            raise ConfigError(f"its body is stored already, and not sealed; {_WITH_BLOBS}")
        key_id = self._current if isinstance(self._current, str) else self._current()
        key = await self._key(key_id)
        if not message.id:
            message = msgspec.structs.replace(message, id=new_id())
        clear = {name: value for name, value in message.attributes.items() if self._is_clear(name)}
        hidden = {name: value for name, value in message.attributes.items() if name not in clear}
        aad = associated(self._context, message, self._bound(clear))
        body = sealed(message, hidden, key_id=key_id, key=key, aad=aad)
        return msgspec.structs.replace(message, body=body, attributes=clear, content_type=SEALED)

    async def open(self, message: Message) -> Message:
        """Return the message that was sealed; raise DecryptionFailed for what can't be opened."""
        if message.content_type == REFERENCE:
            raise DecryptionFailed(f"it is a reference to a body that nothing has fetched; {_WITH_BLOBS}")
        if message.content_type != SEALED:
            if self._plain:
                return message
            raise DecryptionFailed("it isn't sealed, and only what is sealed is taken here")
        key_id = key_id_of(message.body)
        try:
            key = await self._key(key_id)
        except KeyError:
            raise DecryptionFailed(f"there is no key with the id {key_id[:64]!r}") from None
        aad = associated(self._context, message, self._bound(message.attributes))
        body, content_type, hidden = opened(message, key=key, aad=aad)
        return msgspec.structs.replace(
            message, body=body, attributes={**message.attributes, **hidden}, content_type=content_type
        )

    async def _key(self, key_id: str) -> bytes:
        found = self._keys(key_id)
        return await found if inspect.isawaitable(found) else found

    def _is_clear(self, name: str) -> bool:
        return name in self._clear or name in _TRACE

    def _bound(self, attributes: Mapping[str, str]) -> dict[str, str]:
        """Return the attributes that are authenticated though they are in clear: not those of a trace, which go on."""
        return {name: value for name, value in attributes.items() if name in self._clear}
