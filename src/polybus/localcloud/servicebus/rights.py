"""Who may do what: shared access keys, their signatures, and their rights on entities."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote, unquote_plus

from polybus.clock import SystemClock
from polybus.localcloud.servicebus.refusal import UNAUTHORIZED, Refusal

__all__ = ["LISTEN", "MANAGE", "ROOT_KEY", "ROOT_KEY_NAME", "SEND", "Rights"]

SEND, LISTEN, MANAGE = "Send", "Listen", "Manage"
ROOT_KEY_NAME = "RootManageSharedAccessKey"
# What Microsoft documents as the key of its emulator: it opens nothing but a loopback port.
ROOT_KEY = "SAS_KEY_VALUE"


@dataclass(slots=True)
class _Key:
    key: str = field(repr=False)
    grants: dict[str, frozenset[str]]


class Rights:
    """Keys by name; a name that isn't here is refused. Until a key is put here, who shows none passes with every right.

    Callable from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys = {ROOT_KEY_NAME: _Key(ROOT_KEY, {"": frozenset((MANAGE,))})}
        self._enforcing = False

    def put(self, key_name: str, key: str, entity: str, claims: Iterable[str]) -> None:
        """Give a key rights ("Send", "Listen", "Manage") on an entity and what is below it; "" is the namespace."""
        claims = frozenset(claims)
        unknown = claims - {SEND, LISTEN, MANAGE}
        if unknown:
            raise ValueError(f"rights are Send, Listen and Manage, not {sorted(unknown)}")
        with self._lock:
            self._enforcing = True
            found = self._keys.get(key_name)
            grants = {} if found is None else dict(found.grants)
            grants[entity.strip("/").lower()] = claims
            self._keys[key_name] = _Key(key, grants)

    def drop(self, key_name: str) -> None:
        """Forget a key; connections that used it keep their links."""
        with self._lock:
            self._keys.pop(key_name, None)

    def verify(self, token: str) -> str | None:
        """Return the key's name of a token, None for one that isn't signed with a key; raise Refusal."""
        scheme, _, rest = token.partition(" ")
        if scheme != "SharedAccessSignature":
            if self._enforcing:
                raise Refusal(UNAUTHORIZED, "InvalidToken: only shared access signatures are accepted here.")
            return None
        parts = dict(part.partition("=")[::2] for part in rest.split("&"))
        name, until = unquote_plus(parts.get("skn", "")), parts.get("se", "")
        # A token's end is between the client and its own clock: a test that moves the server's time must not end it.
        # A float, because Python reads no integer of thousands of digits.
        if not (until.isascii() and until.isdecimal()) or float(until) < SystemClock().time():
            raise Refusal(UNAUTHORIZED, "ExpiredToken: the token has expired.")
        known = self._keys.get(name)
        if known is None:
            raise Refusal(UNAUTHORIZED, f"InvalidSignature: the key '{name}' is unknown.")
        # Over the resource as the token spells it: clients escape it in different ways.
        signed = f"{parts.get('sr', '')}\n{until}".encode("utf-8", "surrogatepass")
        expected = base64.b64encode(hmac.new(known.key.encode(), signed, hashlib.sha256).digest())
        if not hmac.compare_digest(expected, unquote(parts.get("sig", "")).encode("utf-8", "surrogatepass")):
            raise Refusal(UNAUTHORIZED, "InvalidSignature: the token has an invalid signature.")
        return name

    def verify_key(self, name: str, key: str) -> str:
        """Return the name of a key that was given itself (SASL PLAIN); raise Refusal."""
        known = self._keys.get(name)
        if known is None:
            raise Refusal(UNAUTHORIZED, f"The key '{name}' is unknown.")
        if not hmac.compare_digest(known.key.encode(), key.encode()):
            raise Refusal(UNAUTHORIZED, f"The key '{name}' is another one.")
        return name

    def require(self, key_name: str | None, path: str, claim: str) -> None:
        """Raise Refusal where that key has not that right on that entity."""
        known = self._keys.get(key_name) if key_name is not None else None
        if known is None and not self._enforcing:
            return
        parts = path.lower().split("/") if path else []
        places = ["", *("/".join(parts[: depth + 1]) for depth in range(len(parts)))]
        for place in places:
            claims = known.grants.get(place, frozenset()) if known is not None else frozenset()
            if claim in claims or MANAGE in claims:
                return
        raise Refusal(UNAUTHORIZED, f"Unauthorized access. '{claim}' claim(s) are required on '{path}'.")
