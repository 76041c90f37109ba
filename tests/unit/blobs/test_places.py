"""Where bodies go that nobody gave a place, and who fetches a blob."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pydantic
import pytest

import polybus
from polybus.binding import Binding, Bodies
from polybus.blobs import Blob, BlobRefused, Blobs
from polybus.blobs.blob import REFERENCE
from polybus.embedded.plan import local_binding
from polybus.errors import ConfigError, MissingExtra, UnsupportedFeature
from polybus.message import Message
from polybus.topology.file import loads

TOPOLOGY = loads('[bus]\nname = "shop"\n[queues.models]\n[queues.many]\n', source="polybus.toml")


@pytest.fixture(autouse=True)
def _none_of_other_tests() -> Iterator[None]:
    gc.collect()
    yield
    gc.collect()


async def key_of(blobs: Blobs) -> str:
    return (await blobs.put(b"body")).key


async def test_beside_the_embedded_store(tmp_path: Path) -> None:
    binding = local_binding(TOPOLOGY, path=tmp_path / "bus.db")
    key = await key_of(Blobs(binding))
    assert (tmp_path / "bodies" / key).read_bytes() == b"body"


async def test_in_memory_by_the_store_s_name() -> None:
    binding = local_binding(TOPOLOGY, backend="memory")
    blob = await Blobs(binding).put(b"body")
    assert await Blobs(binding).store.read(blob) == b"body"


async def test_where_the_binding_says(tmp_path: Path) -> None:
    given = Binding(backend="sqlite", bus="shop", settings={"path": "/nowhere"}, bodies=Bodies(str(tmp_path)))
    binding = Binding.from_json(given.to_compact_json())
    assert (tmp_path / await key_of(Blobs(binding))).exists()


async def test_where_connect_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "polybus.toml").write_text('[bus]\nname = "shop"\n[queues.models]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("POLYBUS_BINDING", raising=False)
    assert (tmp_path / ".polybus" / "bodies" / await key_of(Blobs())).exists()
    assert (tmp_path / "here" / await key_of(Blobs(tmp_path / "here"))).exists(), "a place, and the binding's bus"


def test_nowhere_is_told_at_the_first_use() -> None:
    blobs = Blobs(Binding(backend="elsewhere", bus="shop"))
    with pytest.raises(ConfigError, match="bodies"):
        _ = blobs.store


def test_without_obstore_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    with pytest.raises(MissingExtra, match=r"\[blobs\]"):
        _ = Blobs(tmp_path, bus="shop").store


@pytest.mark.parametrize("size", ["much", -1, "200 apples"])
def test_a_size_that_is_none_is_refused(size: int | str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="over="):
        Blobs(tmp_path, bus="shop", over=size)


async def test_what_is_too_large_for_memory_is_refused_on_both_sides(tmp_path: Path) -> None:
    small, large = (Blobs(tmp_path, bus="shop", over=10, largest=most) for most in (100, 1_000))
    with pytest.raises(ValueError, match=r"blobs\.put"):
        await small.offload(Message(b"x" * 101))
    message = await large.offload(Message(b"x" * 101))
    assert message.content_type == REFERENCE
    with pytest.raises(BlobRefused, match="101 bytes"):
        await small.fetch(message)


async def test_what_seals_stores_no_blob_in_clear(tmp_path: Path) -> None:
    from polybus.encryption import Encryption

    sealing = Blobs(tmp_path, bus="shop", encryption=Encryption({"k": bytes(32)}.__getitem__, "k", context="shop"))
    with pytest.raises(UnsupportedFeature, match="encryption="):
        await sealing.put(b"body")


class Trained(pydantic.BaseModel):
    """A pydantic model with a body of its own."""

    name: str
    weights: Blob


async def test_a_pydantic_model_has_blobs(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, bus="shop")
    text = Trained(name="v1", weights=await blobs.put(b"body")).model_dump_json()
    assert Trained.model_validate_json(text).weights == Trained.model_validate_json(text).weights
    assert await Trained.model_validate_json(text).weights.read() == b"body"
    with pytest.raises(pydantic.ValidationError):
        Trained.model_validate_json('{"name": "v1", "weights": {"blob": 1}}')


async def test_a_batch_of_blobs_is_fetched(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, bus="shop")
    app = polybus.App(source=local_binding(TOPOLOGY, path=tmp_path / "bus.db"), middleware=[blobs])
    found: list[bytes] = []
    done = asyncio.Event()

    @app.handler("many", max_batch=2)
    async def keep(several: list[Blob]) -> None:
        found.extend([await each.read() for each in several])
        if len(found) == 2:
            done.set()

    async with app.running():
        for body in (b"one", b"two"):
            await app.bus.publish("many", await blobs.put(body))
        await done.wait()
    assert sorted(found) == [b"one", b"two"]


@pytest.fixture
def alone() -> None:
    """Let go of what tests before this one left in circles: a blob is fetched by the only one that there is."""
    gc.collect()


@pytest.mark.usefixtures("alone")
async def test_a_blob_that_came_by_no_middleware_is_the_only_one_s(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path, bus="shop")
    bare = msgspec.json.decode((await blobs.put(b"body")).to_body(), type=Blob)
    assert await bare.read() == b"body"
    other = Blobs(tmp_path / "other", bus="shop")
    with pytest.raises(RuntimeError, match=r"2, and nothing says which: Blobs\.bind"):
        await bare.read()
    assert await blobs.bind(bare).read() == b"body"
    del other, blobs
    gc.collect()
    with pytest.raises(RuntimeError, match="none"):
        await bare.read()


@pytest.mark.usefixtures("alone")
def test_code_that_blocks_publishes_and_fetches(tmp_path: Path) -> None:
    binding = local_binding(TOPOLOGY, path=tmp_path / "bus.db")
    blobs = Blobs(binding)
    with polybus.sync.connect(binding, middleware=[blobs]) as bus:
        bus.publish("models", bytes(300_000))
        with bus.consume("models") as deliveries, next(deliveries) as delivery:
            assert len(delivery.body) < 1_000, "as it came"
            assert asyncio.run(blobs.fetch(delivery.message)).body == bytes(300_000)
        bus.publish("models", asyncio.run(blobs.put(b"weights")))
        with bus.consume("models") as deliveries, next(deliveries) as delivery:
            blob = msgspec.json.decode(delivery.body, type=Blob)
            assert asyncio.run(blob.read()) == b"weights"
