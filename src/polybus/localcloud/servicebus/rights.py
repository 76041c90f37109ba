"""Who may do what: shared access keys, their signatures, and their rights on entities."""

from __future__ import annotations

import base64
import datetime
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, unquote_plus

from polybus.clock import SystemClock
from polybus.localcloud.servicebus.entities.options import AccessRule
from polybus.localcloud.servicebus.paths import entity_path
from polybus.localcloud.servicebus.refusal import UNAUTHORIZED, Refusal

__all__ = ["LISTEN", "MANAGE", "ROOT_KEY", "ROOT_KEY_NAME", "SEND", "Rights"]

SEND, LISTEN, MANAGE = "Send", "Listen", "Manage"
ENTRA = "\n"  # who comes with a token of Entra ID; no key has such a name
ROOT_KEY_NAME = "RootManageSharedAccessKey"
# What Microsoft documents as the key of its emulator: it opens nothing but a loopback port.
ROOT_KEY = "SAS_KEY_VALUE"


@dataclass(slots=True)
class _Key:
    key: str = field(repr=False)
    grants: dict[str, frozenset[str]]


class Rights:
    """Keys by name; a name that isn't here is refused. Until a key is put here, who shows none passes with every right.

    A token of Entra ID passes with every right too: its signature and its roles are between others.
    Callable from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys = {ROOT_KEY_NAME: _Key(ROOT_KEY, {"": frozenset((MANAGE,))})}
        self._entities: dict[str, dict[str, AccessRule]] = {}
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

    def put_entity(self, path: str, rules: Iterable[AccessRule]) -> None:
        """Take over the keys of an entity's own; with none, forget what it had."""
        with self._lock:
            self._entities.pop(path.lower(), None)
            if found := {rule.name: rule for rule in rules}:
                self._entities[path.lower()] = found

    def verify(self, token: str) -> str | None:
        """Return the key's name of a token, None for one that isn't signed with a key; raise Refusal."""
        scheme, _, rest = token.partition(" ")
        if scheme != "SharedAccessSignature":
            claims = _entra(rest if scheme == "Bearer" else token)
            if claims is not None:
                if isinstance(ends := claims.get("exp"), int | float) and ends < SystemClock().time():
                    raise _expired(ends)
                return ENTRA
            if self._enforcing:
                raise Refusal(UNAUTHORIZED, "InvalidToken: The token is neither a shared access signature nor a JWT.")
            return None
        parts = dict(part.partition("=")[::2] for part in rest.split("&"))
        name, until = unquote_plus(parts.get("skn", "")), parts.get("se", "")
        # A token's end is between the client and its own clock: a test that moves the server's time must not end it.
        # A float, because Python reads no integer of thousands of digits.
        if not (until.isascii() and until.isdecimal()) or float(until) < SystemClock().time():
            raise _expired(float(until) if until.isdecimal() else 0.0)
        # Over the resource as the token spells it: clients escape it in different ways.
        signed = f"{parts.get('sr', '')}\n{until}".encode("utf-8", "surrogatepass")
        given = unquote(parts.get("sig", "")).encode("utf-8", "surrogatepass")

        def signs(key: str) -> bool:
            expected = base64.b64encode(hmac.new(key.encode(), signed, hashlib.sha256).digest())
            return hmac.compare_digest(expected, given)

        return self._find(name, signs, unquote_plus(parts.get("sr", "")))

    def _find(self, name: str, fits: Callable[[str], bool], resource: str) -> str:
        """Return whose key fits: the name of one of the namespace's, or `path\\nname` of one of an entity's."""
        known = self._keys.get(name)
        if known is not None and fits(known.key):
            return name
        for place in reversed(_places(entity_path(resource).lower())):
            rule = self._entities.get(place, {}).get(name)
            if rule is not None and (fits(rule.primary) or fits(rule.secondary)):
                return f"{place}\n{name}"
        raise Refusal(UNAUTHORIZED, "InvalidSignature: The token has an invalid signature.")

    def verify_key(self, name: str, key: str) -> str:
        """Return the name of a key that was given itself (SASL PLAIN); raise Refusal."""
        return self._find(name, lambda found: hmac.compare_digest(found.encode(), key.encode()), "")

    def claims(self, key_name: str | None, path: str) -> frozenset[str]:
        """Return what that key may on that entity; Manage is all three."""
        if key_name is None:
            found = frozenset() if self._enforcing else frozenset((MANAGE,))
        elif key_name == ENTRA:
            found = frozenset((MANAGE,))
        elif "\n" in key_name:
            place, name = key_name.split("\n")
            rule = self._entities.get(place, {}).get(name) if place in _places(path.lower()) else None
            found = frozenset(rule.claims) if rule is not None else frozenset()
        else:
            known = self._keys.get(key_name)
            granted = known.grants if known is not None else {}
            found = frozenset().union(*(granted.get(place, frozenset()) for place in _places(path.lower())))
        return frozenset((SEND, LISTEN, MANAGE)) if MANAGE in found else found

    def require(self, key_name: str | None, path: str, claim: str) -> None:
        """Raise Refusal where that key has not that right on that entity."""
        if claim not in self.claims(key_name, path):
            raise Refusal(
                UNAUTHORIZED,
                f"Unauthorized access. '{claim}' claim(s) are required to perform this operation. "
                f"Resource: 'sb://localhost/{path}'.",
            )


def _entra(token: str) -> dict[str, Any] | None:
    """Return the claims of a JSON web token, None for what is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        found = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2]]
    except (ValueError, RecursionError):
        return None
    header, claims = found
    return claims if isinstance(header, dict) and "alg" in header and isinstance(claims, dict) else None


def _expired(seconds: float) -> Refusal:
    try:
        when = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%m/%d/%Y %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        when = "long ago"
    return Refusal(UNAUTHORIZED, f"ExpiredToken: The token is expired. Expiration time: '{when}'.")


def _places(path: str) -> list[str]:
    """Return the namespace's place and each above a path, the path itself last."""
    parts = path.split("/") if path else []
    return ["", *("/".join(parts[: depth + 1]) for depth in range(len(parts)))]
