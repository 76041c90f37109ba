"""A declared HTTPS push on the local AWS server alone: it asks, is confirmed, signs and delivers; nothing is faked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from served import HOST, Statuses, Tls, listening, serving, until
from shop import Shop
from test_served_sns import REGION, TOPOLOGY

import polybus
from polybus.clouds.aws.local import realise
from polybus.clouds.aws.plan.resources import AwsSettings, plan
from polybus.localcloud.aws.server import AwsServer
from polybus.localcloud.server import running_in_thread
from polybus.serverless import cloud_run
from polybus.topology.file import loads


@contextlib.asynccontextmanager
async def pushed(tmp_path: Path, shop: Shop, patch: pytest.MonkeyPatch, named: bool) -> AsyncIterator[Pushed]:
    """Serve the shop's app where its topology pushes; `named` says whether the environment names the local SNS."""
    tls, place = Tls(tmp_path), listening()
    endpoint = f"https://{HOST}:{place.getsockname()[1]}/billing"
    planned = plan(loads(TOPOLOGY.format(endpoint=endpoint), source="shop.toml"), AwsSettings(region=REGION))
    patch.setenv("SSL_CERT_FILE", str(tls.certificate))
    async with contextlib.AsyncExitStack() as open_:
        server = open_.enter_context(running_in_thread(AwsServer()))
        if named:
            patch.setenv("AWS_ENDPOINT_URL", server.url)
        made = await asyncio.to_thread(realise, planned, endpoint=server.url)
        binding = msgspec.structs.replace(made, settings={**made.settings, "endpoint": server.url})
        application = Statuses(cloud_run(shop.app, binding))
        await open_.enter_async_context(serving(application, place, **tls.options))
        bus = await open_.enter_async_context(polybus.connect(binding))
        yield Pushed(application, bus)


class Pushed:
    def __init__(self, application: Statuses, bus: polybus.Bus) -> None:
        self.application = application
        self.bus = bus


async def test_what_is_published_is_pushed_and_handled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    async with pushed(tmp_path, shop, monkeypatch, named=True) as stack:
        await until(lambda: stack.application.all)  # the confirmation
        assert stack.application.all == [200]
        id_ = await stack.bus.publish("orders", {"id": "one"}, attributes={"region": "eu"})
        await until(lambda: shop.deliveries)
        (delivery,) = shop.deliveries
        assert (delivery.id, delivery.attributes) == (id_, {"region": "eu"})


async def test_a_local_sns_that_nobody_named_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    async with pushed(tmp_path, shop, monkeypatch, named=False) as stack:
        await until(lambda: stack.application.all)
        assert stack.application.all == [503]
