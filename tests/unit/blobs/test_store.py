"""Storing bodies elsewhere and fetching them: what comes back is what was stored, or nothing does."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from polybus.blobs.blob import Blob, BlobRefused
from polybus.blobs.store import PART, Store
from polybus.clock import ManualClock
from polybus.errors import BackendError, ConfigError, FaultKind

DAY = 86_400.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "bodies"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(folder, bus="shop")


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.rglob("*") if each.is_file())


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def drain(store: Store, blob: Blob) -> None:
    async for _ in store.iter(blob):
        pass


async def everywhere(store: Store, blob: Blob, tmp_path: Path) -> list[Exception]:
    """Fetch a blob in each of the ways, and return what they raise."""
    found: list[Exception] = []
    target = tmp_path / "saved"
    for fetch in (store.read(blob), drain(store, blob), store.save(blob, target), opened(store, blob)):
        try:
            await fetch
        except Exception as error:  # noqa: BLE001 - it is what is asked for
            found.append(error)
    assert not target.exists()
    return found


async def opened(store: Store, blob: Blob) -> bytes:
    async with store.open(blob) as file:
        return file.read()


@pytest.mark.parametrize("size", [0, 1, 3_000_000, PART, PART + 1])
async def test_what_was_stored_comes_back(store: Store, tmp_path: Path, size: int) -> None:
    body = os.urandom(size)
    source = tmp_path / "source"
    source.write_bytes(body)
    for made in (body, source, pieces(body[:10], b"", body[10:])):
        blob = await store.put(made, "image/png")
        assert (blob.size, blob.sha256, blob.type) == (size, hashlib.sha256(body).hexdigest(), "image/png")
        assert await store.read(blob) == body
        assert b"".join([piece async for piece in store.iter(blob)]) == body
        assert await opened(store, blob) == body
        await store.save(blob, tmp_path / "saved")
        assert (tmp_path / "saved").read_bytes() == body


async def test_objects_are_under_the_bus_s_own_prefix(store: Store, folder: Path) -> None:
    first, second = await store.put(b"one"), await store.put(b"one")
    assert first.key != second.key, "each has an object of its own: they expire each in its time"
    assert first.key.startswith("polybus/shop/")
    assert {each.name for each in (folder / "polybus" / "shop").iterdir()} == {
        first.key.rpartition("/")[2],
        second.key.rpartition("/")[2],
    }


async def test_an_object_that_was_changed_is_refused(store: Store, folder: Path, tmp_path: Path) -> None:
    blob = await store.put(b"pay 100 to c7")
    (folder / blob.key).write_bytes(b"pay 900 to c7")
    errors = await everywhere(store, blob, tmp_path)
    assert [type(error) for error in errors] == [BlobRefused] * 4
    assert "SHA-256" in str(errors[0])


@pytest.mark.parametrize("content", [b"", b"pay 100 to c", b"pay 100 to c7 and c8"])
async def test_an_object_of_another_length_is_refused(
    store: Store, folder: Path, tmp_path: Path, content: bytes
) -> None:
    blob = await store.put(b"pay 100 to c7")
    (folder / blob.key).write_bytes(content)
    assert [type(error) for error in await everywhere(store, blob, tmp_path)] == [BlobRefused] * 4


async def test_another_s_object_is_refused(store: Store, tmp_path: Path) -> None:
    mine, other = await store.put(b"pay 100 to c7"), await store.put(b"pay 900 to c7")
    swapped = msgspec.structs.replace(mine, key=other.key)
    assert [type(error) for error in await everywhere(store, swapped, tmp_path)] == [BlobRefused] * 4


OUTSIDE = [
    "polybus/bank/{name}",
    "polybus/shop/../bank/{name}",
    "polybus/shop/{name}/../{name}",
    "polybus/shop/",
    "polybus/shop/secret.txt",
    "/etc/passwd",
    "{name}",
    "polybus/shop//{name}",
    "polybus/shop/{name}\n",
    "polybus/shopping/{name}",
    "",
]


@pytest.mark.parametrize("key", OUTSIDE)
async def test_a_reference_to_anything_else_is_refused(store: Store, folder: Path, tmp_path: Path, key: str) -> None:
    mine = await store.put(b"mine")
    theirs = await Store(folder, bus="bank").put(b"mine")
    assert theirs.size == mine.size
    forged = msgspec.structs.replace(mine, key=key.format(name=theirs.key.rpartition("/")[2]))
    assert [type(error) for error in await everywhere(store, forged, tmp_path)] == [BlobRefused] * 4


@pytest.mark.parametrize("changes", [{"size": -1}, {"sha256": ""}, {"sha256": "x" * 64}, {"sha256": "A" * 64}])
async def test_a_reference_without_size_or_hash_is_refused(
    store: Store, tmp_path: Path, changes: dict[str, Any]
) -> None:
    blob = msgspec.structs.replace(await store.put(b"mine"), **changes)
    assert [type(error) for error in await everywhere(store, blob, tmp_path)] == [BlobRefused] * 4


async def test_what_is_gone_can_be_asked_for_again(store: Store, folder: Path, tmp_path: Path) -> None:
    """It may be a store that is not the publisher's: no reason to bury the message at the first attempt."""
    blob = await store.put(b"mine")
    (folder / blob.key).unlink()
    errors = await everywhere(store, blob, tmp_path)
    assert [error.fault.kind for error in errors if isinstance(error, BackendError)] == [FaultKind.NOT_FOUND] * 4


async def test_a_source_that_fails_leaves_nothing(store: Store, folder: Path, tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * (PART + 1)
        raise KeyError("the camera is off")

    with pytest.raises(KeyError, match="the camera is off"):
        await store.put(broken())
    with pytest.raises(FileNotFoundError):
        await store.put(tmp_path / "missing")
    assert files(folder) == []


async def test_a_file_that_was_there_stays_until_the_new_one_is_whole(
    store: Store, folder: Path, tmp_path: Path
) -> None:
    blob = await store.put(b"new")
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    (folder / blob.key).write_bytes(b"bad")
    with pytest.raises(BlobRefused):
        await store.save(blob, target)
    assert target.read_bytes() == b"old"
    assert files(tmp_path) == [blob.key.rpartition("/")[2], "weights"], "no half of a file"


async def test_a_saved_file_is_as_readable_as_any_other(store: Store, tmp_path: Path) -> None:
    """A model that one service fetches is another user's to read, where the umask says so."""
    blob = await store.put(b"weights")
    await store.save(blob, tmp_path / "weights")
    (tmp_path / "other").write_bytes(b"weights")
    assert (tmp_path / "weights").stat().st_mode == (tmp_path / "other").stat().st_mode


async def test_what_is_old_is_swept_and_nothing_else(folder: Path) -> None:
    clock = ManualClock()
    store, other = Store(folder, bus="shop", clock=clock), Store(folder, bus="bank", clock=clock)
    old, theirs = await store.put(b"old"), await other.put(b"old")
    foreign = folder / "polybus" / "shop" / "notes.txt"
    foreign.write_text("not ours")
    await clock.advance(30 * DAY)
    young = await store.put(b"young")
    assert await store.sweep(older_than=30 * DAY) == 0, "to the second"
    await clock.advance(1.0)
    assert await store.sweep(older_than=30 * DAY) == 1
    assert await store.read(young) == b"young"
    assert await other.read(theirs) == b"old"
    assert foreign.exists()
    with pytest.raises(BackendError):
        await store.read(old)


@pytest.mark.parametrize("place", ["foo://key:secret@host/x", "s3://", "s3://bucket?secret=1\0"])
def test_a_place_that_is_none_is_refused_without_its_secrets(place: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Store(place, bus="shop", options={"nonsense": "secret"})
    assert "secret" not in str(refused.value)
    assert "s3://bucket" in str(refused.value)
