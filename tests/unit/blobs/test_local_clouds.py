"""A body of 1 MB through each local cloud: planned, realised, published and handled without a line of code for it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.clouds import CLOUDS

import polybus
from polybus.binding import Binding
from polybus.bus.connect import connect
from polybus.localcloud.server import running
from polybus.plan.bodies import in_folder
from polybus.plan.planning import local_of
from polybus.topology.file import loads

TOPOLOGY = loads(
    'large_bodies = { over = "100KiB" }\n[bus]\nname = "shop"\n[topics.scans]\n'
    '[subscriptions.reader]\ntopic = "scans"\n'
    '[services.scanner]\npublishes = ["scans"]\n[services.archive]\nconsumes = ["reader"]\n',
    source="polybus.toml",
)
LARGE = bytes(range(256)) * 4_096


@pytest.mark.parametrize("cloud", CLOUDS)
async def test_a_large_body_passes(cloud: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = local_of(cloud)
    server = local.server("127.0.0.1", 0, None)
    async with running(server):
        for name, value in server.env().items():
            monkeypatch.setenv(name, value)
        made = await asyncio.to_thread(local.realise, local.plan(TOPOLOGY), server)
        assert made.bodies is not None
        assert made.bodies.url.startswith(
            {"aws": "s3://shop-bodies-", "azure": "az://", "gcp": "gs://shop-bodies-"}[cloud]
        )
        binding = Binding.from_json(in_folder(made, tmp_path / "bodies").to_json())
        got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        async def archive(delivery: polybus.Delivery) -> None:
            got.set_result(delivery.body)

        async with (
            connect(binding.for_service("scanner")) as scanner,
            connect(binding.for_service("archive")) as reader,
        ):
            await scanner.publish("scans", LARGE)
            consumer = reader.consumer("reader", archive)
            run = asyncio.create_task(consumer.run())
            assert await asyncio.wait_for(got, 60) == LARGE
            await consumer.drain()
            await run
    [stored] = [path for path in (tmp_path / "bodies").rglob("*") if path.is_file()]
    assert stored.parent == tmp_path / "bodies" / "polybus" / "shop"
