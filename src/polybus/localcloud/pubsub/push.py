"""Push delivery: messages POSTed to an endpoint of the user's.

An answer of 102, 200, 201, 202 or 204 acks; any other, none within the ack deadline, or no connection nacks. Each
worker that failed waits 100 ms, doubling to 60 s, unless the subscription has a retry policy of its own.
Sources: https://cloud.google.com/pubsub/docs/push, https://cloud.google.com/pubsub/docs/payload-unwrapping

Where the subscription has an OIDC token configured, requests carry one of its shape and claims that is not signed
(`alg: none`): nobody here can sign as Google, and no verifier takes it for real.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING
from weakref import WeakSet

from polybus.clock import wait_for
from polybus.localcloud.pubsub.catalog import Catalog
from polybus.localcloud.pubsub.encoding import decode
from polybus.localcloud.pubsub.protocol import Proto
from polybus.localcloud.pubsub.refusal import unmet
from polybus.localcloud.pubsub.state import Consumer, Entry
from polybus.localcloud.pubsub.subscription import Subscription

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Pushes"]

_log = logging.getLogger(__name__)

_ACKED = frozenset({102, 200, 201, 202, 204})
_FIRST_BACKOFF, _LAST_BACKOFF = 0.1, 60.0
_TOKEN_LIFE = 3_600


class Pushes:
    """The workers of every push subscription."""

    # Requests that are under way at once for one subscription. Google opens as many as an endpoint bears, from one up;
    # this is enough to find an endpoint that can't take two at once.
    WORKERS = 8

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._session: aiohttp.ClientSession | None = None
        self._pushing: WeakSet[Subscription] = WeakSet()
        self._workers: set[asyncio.Task[None]] = set()

    def serve(self, subscription: Subscription) -> None:
        """Start or end pushing, as the subscription's configuration now says."""
        wanted = bool(subscription.config.push_config.push_endpoint) and not subscription.config.detached
        pushing = subscription in self._pushing
        if wanted == pushing:
            return
        subscription.end_consumers(unmet("The subscription's push configuration was changed."))
        self._pushing.discard(subscription)
        if wanted:
            self._pushing.add(subscription)
            for _ in range(self.WORKERS):
                worker = asyncio.create_task(self._work(subscription))
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)

    async def close(self) -> None:
        """End all workers and connections."""
        tasks = list(self._workers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _work(self, subscription: Subscription) -> None:
        consumer = Consumer(subscription.config.ack_deadline_seconds, max_messages=1, per_key=1)
        subscription.attach(consumer)
        backoff = _FIRST_BACKOFF
        try:
            while consumer.error is None:
                consumer.ack_seconds = subscription.config.ack_deadline_seconds
                batch = subscription.take(consumer)
                if not batch:
                    await subscription.wait(consumer)
                    continue
                ack_id = batch[0].ack_id
                await self._catalog.journal.flush()
                if await self._post(subscription, batch[0]):
                    subscription.acknowledge([ack_id])
                    backoff = _FIRST_BACKOFF
                else:
                    subscription.modify([ack_id], [0])
                    if not subscription.config.HasField("retry_policy"):
                        await self._catalog.clock.sleep(backoff)
                        backoff = min(2 * backoff, _LAST_BACKOFF)
                self._catalog.journal.flush_soon()
        finally:
            subscription.detach(consumer)

    async def _post(self, subscription: Subscription, entry: Entry) -> bool:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        config = subscription.config
        body, headers = _request(config, decode(entry.message.wire), entry.failures + 1)
        if config.push_config.HasField("oidc_token"):
            headers["Authorization"] = f"Bearer {_token(config.push_config, self._catalog.clock.time())}"
        endpoint = config.push_config.push_endpoint
        try:
            status = await wait_for(
                self._catalog.clock, _status(self._session, endpoint, body, headers), config.ack_deadline_seconds
            )
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            _log.warning("%s: push to %s failed: %s", subscription.name, endpoint, str(error) or type(error).__name__)
            return False
        return status in _ACKED


async def _status(session: aiohttp.ClientSession, url: str, body: bytes, headers: Mapping[str, str]) -> int:
    async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
        await response.read()
        return response.status


def _request(config: Proto, message: Proto, attempt: int) -> tuple[bytes, dict[str, str]]:
    """Return body and headers: the message in JSON or, for a subscription without the wrapper, its data alone."""
    metadata = {
        "message_id": message.message_id,
        "publish_time": message.publish_time.ToJsonString(),
        "ordering_key": message.ordering_key,
    }
    counts = config.HasField("dead_letter_policy")
    if config.push_config.HasField("no_wrapper"):
        headers: dict[str, str] = {}
        if config.push_config.no_wrapper.write_metadata:
            headers |= dict(message.attributes)
            headers |= {f"x-goog-pubsub-{key.replace('_', '-')}": value for key, value in metadata.items() if value}
            headers["x-goog-pubsub-subscription-name"] = config.name
            if counts:
                headers["x-goog-pubsub-delivery-attempt"] = str(attempt)
        return message.data, headers
    wrapped: dict[str, object] = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": metadata["message_id"],
        "message_id": metadata["message_id"],
        "publishTime": metadata["publish_time"],
        "publish_time": metadata["publish_time"],
    }
    if message.ordering_key:
        wrapped["orderingKey"] = message.ordering_key
    envelope: dict[str, object] = {"message": wrapped, "subscription": config.name}
    if counts:
        envelope["deliveryAttempt"] = attempt
    return json.dumps(envelope).encode(), {"Content-Type": "application/json"}


def _token(push: Proto, now: float) -> str:
    claims = {
        "aud": push.oidc_token.audience or push.push_endpoint,
        "email": push.oidc_token.service_account_email,
        "email_verified": True,
        "exp": int(now) + _TOKEN_LIFE,
        "iat": int(now),
        "iss": "https://accounts.google.com",
    }
    parts = (json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, claims))
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."
