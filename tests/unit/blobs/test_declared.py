"""Where a topology declares large bodies, a bus stores and fetches them by what its binding says, without code."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

import polybus
from polybus.binding import Binding, Bodies
from polybus.blobs import Blob, Blobs
from polybus.blobs.blob import REFERENCE
from polybus.bus.bus import middleware_of
from polybus.bus.connect import connect
from polybus.embedded.plan import local_binding
from polybus.encryption import Encryption
from polybus.errors import MissingExtra
from polybus.message import Message
from polybus.middleware import Middleware, Publication
from polybus.topology.file import loads

TOPOLOGY = loads(
    'large_bodies = { over = "100KiB" }\n[bus]\nname = "shop"\n[queues.scans]\n[queues.small]\n', source="polybus.toml"
)
LARGE = bytes(range(256)) * 4_096  # 1 MiB


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def taken(bus: polybus.Bus, queue: str = "scans") -> Message:
    got: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

    async def handler(delivery: polybus.Delivery) -> None:
        got.set_result(delivery.message)

    consumer = bus.consumer(queue, handler)
    run = asyncio.create_task(consumer.run())
    message = await asyncio.wait_for(got, 30)
    await consumer.drain()
    await run
    return message


@pytest.fixture(autouse=True)
def _none_of_other_tests() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


async def sent(bus: polybus.Bus, queue: str = "scans") -> Message:
    """Give a message as it is on the wire."""
    async with bus.consume(queue) as deliveries:
        async for delivery in deliveries:
            await delivery.ack()
            return delivery.message
    raise AssertionError


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
async def test_a_large_body_comes_as_it_was(backend: str, tmp_path: Path) -> None:
    binding = local_binding(TOPOLOGY, backend=backend, path=tmp_path / "bus.db")
    async with connect(Binding.from_json(binding.to_compact_json())) as bus:
        await bus.publish("scans", Message(LARGE, content_type="image/tiff", attributes={"page": "1"}))
        got = await taken(bus)
        assert (got.body, got.content_type, got.attributes) == (LARGE, "image/tiff", {"page": "1"})
        await bus.publish("scans", LARGE)
        reference = await sent(bus)
        assert reference.content_type == REFERENCE
        assert Blob.from_body(reference.body).size == len(LARGE)
    assert len(files(tmp_path / "bodies")) == (2 if backend == "sqlite" else 0)


async def test_what_fits_stays_in_its_message(tmp_path: Path) -> None:
    async with connect(local_binding(TOPOLOGY, path=tmp_path / "bus.db")) as bus:
        await bus.publish("scans", bytes(100 * 1_024))
        assert (await sent(bus)).body == bytes(100 * 1_024)
    assert files(tmp_path / "bodies") == []


async def test_an_app_has_it_too(tmp_path: Path) -> None:
    got: list[bytes] = []
    app = polybus.App(source=local_binding(TOPOLOGY, path=tmp_path / "bus.db"))
    read = asyncio.Event()

    @app.handler("scans")
    async def scan(page: bytes) -> None:
        got.append(page)
        read.set()

    async with app.running():
        await app.bus.publish("scans", LARGE)
        await asyncio.wait_for(read.wait(), 30)
    assert got == [LARGE]
    assert len(files(tmp_path / "bodies")) == 1


async def test_other_middleware_sees_whole_bodies(tmp_path: Path) -> None:
    seen: list[tuple[str, int]] = []

    class Looks(Middleware):
        async def publish(self, outgoing: Publication, proceed: object) -> str:
            seen.append(("out", len(outgoing.message.body)))
            return await proceed(outgoing)  # type: ignore[operator,no-any-return]

        async def handle(self, delivery: polybus.Delivery, proceed: object) -> None:
            seen.append(("in", len(delivery.message.body)))
            await proceed(delivery)  # type: ignore[operator]

    async with connect(local_binding(TOPOLOGY, path=tmp_path / "bus.db"), middleware=[Looks()]) as bus:
        await bus.publish("scans", LARGE)
        await taken(bus)
    assert seen == [("out", len(LARGE)), ("in", len(LARGE))]


async def test_what_is_sealed_is_stored_sealed(tmp_path: Path) -> None:
    sealing = Encryption(lambda name: bytes(32), "k1", context="shop")
    async with connect(local_binding(TOPOLOGY, path=tmp_path / "bus.db"), middleware=[sealing]) as bus:
        await bus.publish("scans", b"secret " * 100_000)
        assert (await taken(bus)).body == b"secret " * 100_000
    [stored] = files(tmp_path / "bodies")
    assert b"secret" not in stored.read_bytes()


def test_blobs_of_its_own_are_the_ones(tmp_path: Path) -> None:
    own = Blobs(tmp_path / "own", bus="shop")
    bus = connect(local_binding(TOPOLOGY, path=tmp_path / "bus.db"), middleware=[own])
    assert middleware_of(bus) == (own,)


def test_a_binding_that_only_says_where_installs_nothing(tmp_path: Path) -> None:
    binding = Binding(backend="memory", bus="shop", settings={"store": "s"}, bodies=Bodies(str(tmp_path)))
    assert middleware_of(connect(binding)) == ()


def test_who_only_operates_needs_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    more = '[services.keeper]\noperates = ["scans"]\n[services.scanner]\npublishes = ["scans"]\n'
    text = f'large_bodies = {{}}\n[bus]\nname = "shop"\n[queues.scans]\n{more}'
    whole = local_binding(loads(text, source="polybus.toml"), backend="memory")
    monkeypatch.setattr("polybus.blobs.bound.find_spec", lambda name: None)
    assert middleware_of(connect(whole.for_service("keeper"))) == ()
    with pytest.raises(MissingExtra):
        connect(whole.for_service("scanner"))


def test_without_obstore_it_is_told_before_the_first_message(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("polybus.blobs.bound.find_spec", lambda name: None)
    assert importlib.util.find_spec("obstore") is not None
    with pytest.raises(MissingExtra, match=r"\[blobs\]"):
        connect(local_binding(TOPOLOGY, path=tmp_path / "bus.db"))


async def test_a_blob_that_came_by_no_middleware_is_found_where_all_are_the_same(tmp_path: Path) -> None:
    binding = local_binding(TOPOLOGY, path=tmp_path / "bus.db")
    one, other = Blobs(binding), Blobs(binding)
    blob = await one.put(b"body")
    assert await Blob(blob.key, blob.size, blob.sha256).read() == b"body"
    assert other.store.place == one.store.place
