"""Claim, do, confirm: once per message where the effect and the key are in two places."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

from polybus.bus.delivery import Delivery, is_last_attempt, was_given_back
from polybus.claims import Busy, Claim, Done
from polybus.errors import LeaseLost, PolybusError, Retry
from polybus.middleware import Middleware
from polybus.once.once import Once

__all__ = ["ClaimLost", "Claiming", "current_claim", "tell_done", "until_next_look"]

_log = logging.getLogger("polybus.once")

# How often a claim is renewed in the time of its lease: two renewals in a row may fail.
RENEWALS = 3
# How often it is said that it is done, and the seconds between: a store that fails for longer has the handler fail, and
# with it the message come again, though its effect is done.
CONFIRMS = 3
CONFIRM_AGAIN = 0.5
# The least and most seconds (contract, D4) after which what another owner works on comes again.
SOON = 1.0
LATE = 600.0
# Seconds between two looks at what another owner works on, at a duplicate's last attempt: it is held meanwhile.
LOOK = 5.0

_current: ContextVar[Claim | None] = ContextVar("polybus_claim", default=None)


class ClaimLost(PolybusError):
    """The handler is done, and its claim was another's by then: its effect may be done twice."""


def current_claim() -> Claim:
    """Return the claim under which the handler runs; its `token` is for what can refuse an owner that is too late.

    Raises LookupError where there is none: outside of a handler with `once`, and in its own transaction.
    """
    claim = _current.get()
    if claim is None:
        raise LookupError("there is a claim in handlers that are declared with `once` and have no transaction")
    return claim


class Claiming(Middleware):
    """Stands around a handler whose effects a store's claims are for."""

    def __init__(self, once: Once) -> None:
        self._once = once
        self._store = once.store
        self._releases: set[asyncio.Task[None]] = set()

    async def handle(self, delivery: Delivery, proceed: Callable[[Delivery], Awaitable[None]]) -> None:
        claim = await self._claim(delivery)
        if claim is None:
            return
        renewing = asyncio.get_running_loop().create_task(self._renew(claim, delivery))
        token = _current.set(claim)
        try:
            await proceed(delivery)
            if delivery.lost:
                raise LeaseLost(f"message {delivery.id} of {delivery.source!r}: its lease ended, and its claim with it")
        except asyncio.CancelledError:
            # Its lease is lost, or a drain is over: there is no time to wait for a store.
            self._release_soon(claim)
            raise
        except BaseException:
            await self._release(claim)
            raise
        finally:
            _current.reset(token)
            renewing.cancel()
        if was_given_back(delivery):
            await self._release(claim)
        else:
            await self._confirm(claim, delivery)

    async def _claim(self, delivery: Delivery) -> Claim | None:
        """Return the claim of what is to be done, None where it was done before; raise Retry while another works on it.

        At the last attempt that would be a dead letter of what goes well: then it waits for the other.
        """
        key = self._once.key_of(delivery)
        while True:
            answer = await self._store.claim(*key, self._once.lease)
            if isinstance(answer, Claim):
                return answer
            if isinstance(answer, Done):
                tell_done(delivery)
                return None
            await self._once.clock.sleep(until_next_look(delivery, answer))

    async def _renew(self, claim: Claim, delivery: Delivery) -> None:
        while True:
            await self._once.clock.sleep(self._once.lease / RENEWALS)
            if delivery.lost:
                return
            try:
                if not await self._store.renew(claim, self._once.lease):
                    _log.error("%s lost its claim while its handler runs", _described(delivery))
                    return
            except Exception as error:  # noqa: BLE001 - whatever a store's client raises: it is tried again
                _log.warning("the claim of %s could not be renewed: %r", _described(delivery), error)

    async def _confirm(self, claim: Claim, delivery: Delivery) -> None:
        for attempt in range(1, CONFIRMS + 1):
            try:
                confirmed = await self._store.confirm(claim)
            except Exception:
                if attempt == CONFIRMS:
                    raise
                await self._once.clock.sleep(CONFIRM_AGAIN)
            else:
                break
        if not confirmed:
            raise ClaimLost(f"{_described(delivery)}: its claim was over before its handler was, and another took it")

    def _release_soon(self, claim: Claim) -> None:
        task = asyncio.get_running_loop().create_task(self._release(claim))
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    async def _release(self, claim: Claim) -> None:
        try:
            await self._store.release(claim)
        except Exception as error:  # noqa: BLE001 - the handler's own error is what counts; the lease ends by itself
            _log.warning("the claim of key %r could not be released, and ends with its lease: %r", claim.key, error)


def until_next_look(delivery: Delivery, busy: Busy) -> float:
    """Return for how many seconds to wait for another owner, at the last attempt; raise Retry at an earlier one."""
    if not is_last_attempt(delivery):
        raise Retry("another owner works on it", after=min(max(busy.seconds, SOON), LATE))
    return min(max(busy.seconds, SOON), LOOK)


def tell_done(delivery: Delivery) -> None:
    """Log that a delivery repeats what is done."""
    _log.info("%s was done before: acked, and not handled", _described(delivery))


def _described(delivery: Delivery) -> str:
    return f"message {delivery.id} of {delivery.source!r}, attempt {delivery.attempt}"
