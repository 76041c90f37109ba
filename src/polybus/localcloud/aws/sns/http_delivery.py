"""Deliveries to HTTP and HTTPS endpoints: posted, tried again by the delivery policy, given up in the end.

Which answers are tried again, and for how long one is waited for: SNS Developer Guide, "Amazon SNS message delivery
retries" (5xx and 429; everything else that isn't 2xx is final) and "Fanout to HTTP/S endpoints" (15 s).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp

from polybus.clock import Clock

__all__ = ["HttpDeliveries", "Post"]

log = logging.getLogger(__name__)

TIMEOUT = 15.0
_AGENT = "Amazon Simple Notification Service Agent"


@dataclass(frozen=True, slots=True)
class Post:
    """One document for one endpoint; `delays` are the seconds before each further try; `failed` hears of the last."""

    endpoint: str
    body: str
    headers: Mapping[str, str]
    delays: tuple[float, ...] = ()
    failed: Callable[[str], object] | None = None


class HttpDeliveries:
    """Posts side by side, in no order. What is under way when the server stops is not delivered."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: set[asyncio.Task[None]] = set()
        self._session: aiohttp.ClientSession | None = None

    def send(self, post: Post) -> None:
        """Begin to deliver; returns at once."""
        task = asyncio.get_running_loop().create_task(self._deliver(post))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Give up what is under way, and close connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _deliver(self, post: Post) -> None:
        why, final = await self._try(post)
        for delay in post.delays:
            if final:
                break
            await self._clock.sleep(delay)
            why, final = await self._try(post)
        if why is not None:
            log.warning("%s: not delivered: %s", post.endpoint, why)
            if post.failed is not None:
                post.failed(why)

    async def _try(self, post: Post) -> tuple[str | None, bool]:
        """Return why it was not delivered, and whether that is final."""
        if self._session is None:
            # Made here and not at import: what is trusted (SSL_CERT_FILE) is read as it is made.
            connector = aiohttp.TCPConnector(ssl=ssl.create_default_context())
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), connector=connector)
        headers = {"User-Agent": _AGENT, **post.headers}
        try:
            body = post.body.encode()
            async with self._session.post(post.endpoint, data=body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return None, True
                return f"answered {answer.status}", not (answer.status >= 500 or answer.status == 429)
        except aiohttp.InvalidURL as error:
            return f"no URL: {error}", True
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__, False
