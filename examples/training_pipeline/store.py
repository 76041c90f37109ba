"""Models on disk, where trainer and registry both find them; in production an object store."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from messages import Outcome


def folder() -> Path:
    """Return where it is kept: what TRAINING_STORE says, else `store` in the working directory."""
    return Path(os.environ.get("TRAINING_STORE", "store"))


def write_artifact(job: str, content: bytes) -> str:
    """Keep a trained model and return its name; a job that is trained again replaces its own."""
    name = f"{job}.pickle"
    _replace(folder() / "artifacts" / name, content)
    return name


def drop_artifact(name: str) -> None:
    """Forget a model that is not the best; done twice, nothing."""
    (folder() / "artifacts" / name).unlink(missing_ok=True)


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
