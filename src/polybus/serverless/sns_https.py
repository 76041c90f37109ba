"""What SNS posts to an HTTPS endpoint: notifications, and the question whether it may.

https://docs.aws.amazon.com/sns/latest/dg/sns-http-https-endpoint-as-subscriber.html
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from polybus.clock import Clock
from polybus.serverless.failure import Unverified
from polybus.serverless.fetch import Fetch, Unreachable
from polybus.serverless.sns_signature import check_host

__all__ = ["SnsDoor", "VerifySns"]

_log = logging.getLogger("polybus.serverless")

VerifySns = Callable[[Mapping[str, Any]], None]

# Seconds after its publishing in which a delivery is taken. SNS tries HTTPS endpoints for an hour at most ("Amazon SNS
# message delivery retries"); the second hour is for what held it up itself, and for clocks. Without a limit, whoever
# once got hold of a signed delivery could have it handled again for ever.
OLDEST = 7_200.0
_TEXTS = ("Type", "TopicArn", "MessageId", "Message", "Timestamp", "SignatureVersion", "Signature", "SigningCertURL")


class SnsDoor:
    """Lets in what SNS signed and what comes from one of these topics."""

    def __init__(self, topics: Collection[str], verify: VerifySns, fetch: Fetch, clock: Clock) -> None:
        self._topics = frozenset(topics)
        self._verify = verify
        self._fetch = fetch
        self._clock = clock

    async def admit(self, headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
        """Return a notification to be handled, or None for what is handled here: the confirmations.

        Raises Unverified for what isn't proven to be from one of the topics, Unreachable where that can't be told now.
        """
        if headers.get("x-amz-sns-rawdelivery", "").lower() == "true":
            raise Unverified("raw delivery carries no signature: declare the push without raw = true")
        document = _read(body)
        if document["TopicArn"] not in self._topics:
            known = ", ".join(sorted(self._topics)) or "none"
            raise Unverified(f"topic {document['TopicArn'][:256]!r} is none that may deliver here; these may: {known}")
        self._check_age(document["Timestamp"])
        await asyncio.to_thread(self._verify, document)
        if document["Type"] == "Notification":
            return document
        if document["Type"] == "SubscriptionConfirmation":
            await asyncio.to_thread(self._confirm, document)
        else:
            _log.warning("a subscription of %s to this endpoint was ended", document["TopicArn"])
        return None

    def _check_age(self, stamp: str) -> None:
        try:
            age = self._clock.time() - datetime.fromisoformat(stamp).timestamp()
        except ValueError:
            raise Unverified(f"not what SNS posts: a time {stamp[:40]!r}") from None
        if age > OLDEST:
            raise Unverified(f"signed at {stamp}, and SNS delivers nothing that old: a replay, or a wrong clock")

    def _confirm(self, document: Mapping[str, Any]) -> None:
        url = check_host(document.get("SubscribeURL"), "SubscribeURL")
        asked = parse_qs(urlsplit(url).query)
        if asked.get("Action") != ["ConfirmSubscription"] or asked.get("TopicArn") != [document["TopicArn"]]:
            raise Unverified(f"SubscribeURL doesn't confirm a subscription of {document['TopicArn']}")
        status = self._fetch(url).status
        if status != HTTPStatus.OK:
            raise Unreachable(f"confirming the subscription of {document['TopicArn']}: SNS answered {status}")
        _log.info("confirmed the subscription of %s to this endpoint", document["TopicArn"])


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise Unverified(f"not what SNS posts: {error}") from None
    for name in _TEXTS:
        if not isinstance(document.get(name), str):
            raise Unverified(f"not what SNS posts: {name} is no text")
    return document
