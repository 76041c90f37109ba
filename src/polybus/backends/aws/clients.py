"""boto3's clients, made once, and the threads that they block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlencode

T = TypeVar("T")

__all__ = ["LONG_POLL", "Clients"]

# Calls under way at once that aren't long polls. boto3 is bound by the interpreter lock: more threads hide more of the
# round trip, and give no more throughput (measured: 8 threads are no faster than 1 on a fast server).
THREADS = 16
# Long polls have threads of their own, so that waiting consumers can't keep publishers and acks from running.
POLLS = 64
# The longest that ReceiveMessage waits, in seconds (SQS API reference).
LONG_POLL = 20


class Clients:
    """The SNS and SQS clients of one driver; made at the first call, in a thread, since that reads files."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._made: dict[str, Any] = {}
        self._session: Any = None
        self._lock = asyncio.Lock()
        self._calls = ThreadPoolExecutor(THREADS, thread_name_prefix="polybus-aws")
        self._polls = ThreadPoolExecutor(POLLS, thread_name_prefix="polybus-aws-poll")

    @property
    def long_poll(self) -> int:
        """How long a receive may wait, in seconds; the binding's setting `long_poll` shortens it, for quick drains."""
        return int(self._settings.get("long_poll", LONG_POLL))

    async def get(self, service: str) -> Any:
        """Return the client of a service."""
        client = self._made.get(service)
        if client is not None:
            return client
        async with self._lock:
            if service not in self._made:
                self._made[service] = await self.run(partial(self._make, service))
        return self._made[service]

    def made(self, service: str) -> Any:
        """Return the client of a service, making it here and now if need be."""
        if service not in self._made:
            self._made[service] = self._make(service)
        return self._made[service]

    async def run(self, call: Callable[[], T]) -> T:
        """Run a blocking call in a thread; what it raises names its queue or topic in a note."""
        return await asyncio.get_running_loop().run_in_executor(self._calls, _noted, call)

    async def poll(self, call: Callable[[], T]) -> T:
        """Run a call that may wait for long in a thread for such; else like `run`."""
        return await asyncio.get_running_loop().run_in_executor(self._polls, _noted, call)

    def _make(self, service: str) -> Any:
        import boto3
        import botocore
        from botocore.config import Config

        if self._session is None:
            self._session = boto3.Session(region_name=self._settings.get("region"))
        config = Config(
            # The bus retries, per message and within the publisher's deadline (contract, P5).
            retries={"total_max_attempts": 1, "mode": "standard"},
            connect_timeout=5,
            # A long poll answers after LONG_POLL seconds at the latest; what is slower than this is broken.
            read_timeout=LONG_POLL + 20,
            max_pool_connections=THREADS + POLLS,
            # What is sent was built here, to SQS's rules: checking it again is 15 to 20 % of a call (measured).
            parameter_validation=bool(self._settings.get("validate", False)),
            # A fixed text: botocore's own is put together anew, twice, for every request (5 % of a receive, measured).
            user_agent=f"Boto3/{boto3.__version__} Botocore/{botocore.__version__} polybus",
        )
        # Local servers that the environment doesn't name; None leaves it to boto3 (AWS_ENDPOINT_URL, the region's own).
        client = self._session.client(service, config=config, endpoint_url=self._settings.get("endpoint"))
        if service == "sns":
            client.meta.events.register("before-call.sns", _encode_form)
        return client

    def close(self) -> None:
        """Close connections and end the threads; no call is under way."""
        self._calls.shutdown(wait=False)
        self._polls.shutdown(wait=False)
        for client in self._made.values():
            client.close()


def _noted(call: Callable[[], T]) -> T:
    try:
        return call()
    except Exception as error:
        given = call.keywords if isinstance(call, partial) else {}
        if (address := given.get("QueueUrl") or given.get("TopicArn")) is not None:
            error.add_note(address)
        raise


def _encode_form(params: dict[str, Any], **_: Any) -> None:
    """Encode the form of a query protocol request once.

    botocore does it twice, to sign it and to send it: a fifth of what a PublishBatch of ten costs (measured).
    """
    if isinstance(params["body"], dict):
        params["body"] = urlencode(params["body"]).encode()
