"""Bodies in buckets and containers, as far as their protocols are spoken on this machine."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
import obstore
import pytest

from polybus.blobs.blob import Blob, BlobRefused
from polybus.blobs.store import PART, Store
from polybus.errors import BackendError, FaultKind, UnsupportedFeature

from .clouds import KINDS, LOCAL, place


@pytest.fixture(scope="module", params=KINDS)
def where(request: pytest.FixtureRequest) -> Iterator[tuple[str, dict[str, Any]]]:
    with place(request.param) as found:
        yield found


@pytest.fixture
def store(where: tuple[str, dict[str, Any]]) -> Store:
    url, options = where
    return Store(url, bus="shop", options=options)


def overwrite(store: Store, blob: Blob, body: bytes) -> None:
    obstore.put(store._store, blob.key, body)


@pytest.mark.parametrize("size", [0, 10, PART, 2 * PART + 1])
async def test_what_was_stored_comes_back(store: Store, size: int) -> None:
    body = os.urandom(size)
    blob = await store.put(body, "image/png")
    assert (blob.size, blob.type) == (size, "image/png")
    assert await store.read(blob) == body


@pytest.mark.parametrize("instead", [b"pay 900 to c7", b"pay 100 to c", b""])
async def test_what_was_changed_is_refused(store: Store, instead: bytes) -> None:
    blob = await store.put(b"pay 100 to c7")
    overwrite(store, blob, instead)
    with pytest.raises(BlobRefused):
        await store.read(blob)


async def test_another_s_object_is_refused(store: Store) -> None:
    mine, other = await store.put(b"pay 100 to c7"), await store.put(b"pay 900 to c7")
    with pytest.raises(BlobRefused):
        await store.read(msgspec.structs.replace(mine, key=other.key))


async def test_what_is_gone_is_not_found(store: Store) -> None:
    blob = await store.put(b"mine")
    with pytest.raises(BackendError) as missing:
        await store.read(msgspec.structs.replace(blob, key=blob.key[:-4] + "0000"))
    assert missing.value.fault.kind is FaultKind.NOT_FOUND


async def test_a_rule_of_the_bucket_deletes_what_is_old(store: Store) -> None:
    with pytest.raises(UnsupportedFeature, match="rule"):
        await store.sweep(older_than=1.0)


async def test_what_doesn_t_answer_is_told_without_its_url() -> None:
    options = {**LOCAL, "access_key_id": "secret", "secret_access_key": "secret", "region": "us-east-1"}
    store = Store("s3://bodies", bus="shop", options={**options, "endpoint": "http://127.0.0.1:1"})
    with pytest.raises(BackendError) as down:
        await store.put(b"mine")
    assert down.value.fault.kind is FaultKind.UNAVAILABLE
    assert "s3://bodies" in str(down.value)
    assert "secret" not in str(down.value)
    assert down.value.__suppress_context__


async def test_a_blocking_handler_fetches_on_a_loop_of_its_own(store: Store) -> None:
    blob = await store.put(b"mine")
    blob.__dict__["reader"] = store
    found: list[bytes] = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(blob.read())))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert found == [b"mine"]
