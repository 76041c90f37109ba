"""A declared push, planned, realised on the local Pub/Sub server, and delivered over TLS to a served `cloud_run(app)`.

That server runs in a process of its own. It writes the claims of Google's tokens without a signature, since nobody here
can sign as Google: between it and the application, `GoogleSigns` signs them with the test's key.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import signing
from platforms import CERTS
from served import BOUND, HOST, Statuses, Tls, listening, serving, until
from shop import Shop

import polybus
from polybus.clouds.gcp.local import realise
from polybus.clouds.gcp.plan.resources import GcpSettings, plan
from polybus.serverless import GoogleTokens, cloud_run
from polybus.serverless.fetch import CertificateCache
from polybus.topology.file import loads

TOPOLOGY = """
[bus]
name = "{bus}"
[topics.orders]
ordered = {ordered}
[subscriptions.billing]
topic = "orders"
filter = 'not exists(test)'
max_attempts = 5
backoff = {{ initial = "100ms", maximum = "200ms" }}
push = {{ https = "{endpoint}", raw = {raw} }}
"""


class GoogleSigns:
    """An application that gets the requests of another with their tokens signed, by the key that Google's are."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self.claims: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [(name, self._signed(name, value)) for name, value in scope["headers"]]}
        await self._application(scope, receive, send)

    def _signed(self, name: bytes, value: bytes) -> bytes:
        if name != b"authorization":
            return value
        claims = json.loads(base64.urlsafe_b64decode(value.split(b".")[1] + b"=="))
        self.claims.append(claims)
        return f"Bearer {signing.signer().token(**claims)}".encode()


@dataclass(frozen=True, slots=True)
class Cloud:
    """The local server's HOST:PORT, the certificate that it trusts, and a bus's name for each test."""

    address: str
    tls: Tls
    names: Iterator[str]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    tls = Tls(tmp_path_factory.mktemp("tls"))
    command = [sys.executable, "-m", "polybus.localcloud.run", "gcp"]
    environment = {**os.environ, "SSL_CERT_FILE": str(tls.certificate)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stdout is not None
            _, host, port = process.stdout.readline().split()
            yield Cloud(f"{host}:{port}", tls, (f"shop{number}" for number in itertools.count()))
        finally:
            process.terminate()


class Stack:
    """A pushed-to shop: its bus, and what it answers."""

    def __init__(self, shop: Shop, endpoint: str, bus: polybus.Bus) -> None:
        self.shop = shop
        self.endpoint = endpoint
        self.bus = bus
        self.statuses: list[int] = []
        self.claims: list[dict[str, Any]] = []

    async def publish(self, *orders: str, key: str | None = None, **attributes: str) -> Sequence[str]:
        return [
            await self.bus.publish("orders", {"id": order}, ordering_key=key, attributes=attributes) for order in orders
        ]


@contextlib.asynccontextmanager
async def stack(
    cloud: Cloud,
    *,
    raw: bool = False,
    ordered: bool = False,
    signed: bool = True,
    audience: str | None = None,
    account: str = signing.ACCOUNT,
) -> AsyncIterator[Stack]:
    place, shop = listening(), Shop()
    endpoint = f"https://{HOST}:{place.getsockname()[1]}/billing"
    text = TOPOLOGY.format(bus=next(cloud.names), endpoint=endpoint, raw=str(raw).lower(), ordered=str(ordered).lower())
    planned = plan(loads(text, source="shop.toml"), GcpSettings(project="local", push_account=signing.ACCOUNT))
    made = await asyncio.to_thread(realise, planned, endpoint=cloud.address)
    binding = msgspec.structs.replace(made, settings={**made.settings, "endpoint": cloud.address})
    web = signing.Web({CERTS: signing.google_keys(signing.signer())})
    tokens = GoogleTokens(audience or endpoint, account, request=CertificateCache(web))
    statuses = Statuses(cloud_run(shop.app, binding, verify=tokens))
    google = GoogleSigns(statuses)
    async with serving(google if signed else statuses, place, **cloud.tls.options), polybus.connect(binding) as bus:
        found = Stack(shop, endpoint, bus)
        found.statuses, found.claims = statuses.all, google.claims
        yield found


async def test_what_is_published_is_pushed_handled_and_acked(cloud: Cloud) -> None:
    async with stack(cloud) as shop:
        ids = await shop.publish("one", "two", region="eu")
        await shop.publish("not for us", test="yes")
        await until(lambda: len(shop.statuses) >= 2)
        assert shop.statuses == [204, 204]
        assert sorted(shop.shop.ids) == ["one", "two"]
        assert {delivery.id for delivery in shop.shop.deliveries} == set(ids)
        assert [dict(delivery.attributes) for delivery in shop.shop.deliveries] == [{"region": "eu"}] * 2
        assert {(claims["aud"], claims["email"]) for claims in shop.claims} == {(shop.endpoint, signing.ACCOUNT)}


async def test_a_failure_comes_again_is_dead_lettered_after_the_last_attempt_and_can_be_redriven(
    cloud: Cloud,
) -> None:
    async with stack(cloud) as shop:
        await shop.publish("fails", "dead")
        await until(lambda: len(shop.statuses) >= 10)
        attempts = {
            id_: [one.attempt for one in shop.shop.deliveries if id_.encode() in one.body] for id_ in shop.shop.ids
        }
        assert attempts == {"fails": [1, 2, 3, 4, 5], "dead": [1, 2, 3, 4, 5]}
        # A dead letter is the cloud's to make, so the last failure is answered as the handler's own dead letters are.
        assert sorted(shop.statuses) == [422] * 6 + [503] * 4
        letters = shop.bus.dead_letters("billing")
        redriven = 0
        async with asyncio.timeout(BOUND):
            while redriven < 2:
                redriven += await letters.redrive()
        await until(lambda: len(shop.statuses) >= 12)
        assert [one.redelivered for one in shop.shop.deliveries[10:12]] == [True, True]


async def test_order_is_kept_through_a_failure(cloud: Cloud) -> None:
    async with stack(cloud, ordered=True) as shop:
        orders = [str(number) for number in range(10)]
        await shop.publish(*orders[:5], "fails", *orders[5:], key="A")
        await until(lambda: len(shop.shop.deliveries) >= 15)
        assert shop.shop.ids == [*orders[:5], *["fails"] * 5, *orders[5:]]
        assert {delivery.ordering_key for delivery in shop.shop.deliveries} == {"A"}


async def test_bodies_without_the_wrapper_are_handled_as_well(cloud: Cloud) -> None:
    async with stack(cloud, raw=True) as shop:
        (id_,) = await shop.publish("one", region="eu")
        await until(lambda: shop.statuses)
        (delivery,) = shop.shop.deliveries
        assert (delivery.id, delivery.attempt, delivery.attributes) == (id_, 1, {"region": "eu"})
        assert shop.statuses == [204]


@pytest.mark.parametrize(
    "wrong",
    [
        {"audience": "https://other.example.run.app"},
        {"account": "other@myproject.iam.gserviceaccount.com"},
        {"signed": False},
    ],
    ids=["audience", "account", "signature"],
)
async def test_who_may_not_push_is_refused_and_the_message_is_kept(cloud: Cloud, wrong: dict[str, Any]) -> None:
    async with stack(cloud, **wrong) as shop:
        await shop.publish("one")
        await until(lambda: len(shop.statuses) >= 5)
        assert shop.statuses == [403] * 5
        async with asyncio.timeout(BOUND):
            while not await shop.bus.dead_letters("billing").redrive():
                pass
        assert shop.shop.deliveries == []
