"""What the services keep: models in a folder, which in production is a bucket, and which of them are the best."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import msgspec

from messages import Outcome
from polybus.blobs import Blobs
from polybus.once import SqliteStore


def folder() -> Path:
    """Return where it is kept: what TRAINING_STORE says, else `store` in the working directory."""
    return Path(os.environ.get("TRAINING_STORE", "store"))


@cache
def blobs() -> Blobs:
    """Return where models are, for the trainer that stores them and for whoever fetches them."""
    folder().mkdir(parents=True, exist_ok=True)
    return Blobs(folder() / "models", bus="training")


def claims() -> SqliteStore:
    """Return what knows which outcomes the registry is done with, whatever is delivered twice."""
    folder().mkdir(parents=True, exist_ok=True)
    return SqliteStore(folder() / "registry.db")


def best(data_set: str) -> Outcome | None:
    """Return what the registry holds for a data set."""
    path = folder() / "best" / f"{data_set}.json"
    return msgspec.json.decode(path.read_bytes(), type=Outcome) if path.exists() else None


def set_best(outcome: Outcome) -> None:
    """Make a model the best of its data set, at once or not at all."""
    _replace(folder() / "best" / f"{outcome.job.data_set}.json", msgspec.json.encode(outcome))


@contextmanager
def alone() -> Iterator[None]:
    """Keep every other registry, in this process or another, out of the block."""
    folder().mkdir(parents=True, exist_ok=True)
    with (folder() / "registry.lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds the old content or the new one, and no mixture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        try:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            os.replace(stream.name, path)
        except BaseException:
            os.unlink(stream.name)
            raise
