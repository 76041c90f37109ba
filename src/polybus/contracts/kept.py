"""A folder of schemas as they were published: one for each topic and queue, by its name."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from polybus.contracts.load import Contract, load
from polybus.errors import ConfigError

__all__ = ["files_of", "load_kept", "stale"]

_SUFFIXES = (".json", ".avsc", ".binpb")


def files_of(name: str, contract: Contract) -> dict[str, bytes]:
    """Return the files of an entry's schema by their names; their bytes are the same for the same schema."""
    if contract.kind == "avro":
        versions = contract.schema
        # What readers know says which change they can take: without it, a later check would have to refuse all.
        known = {f"{name}.{each.fingerprint.hex()}.avsc": _json(each.source) for each in versions.known}
        return {f"{name}.avsc": _json(versions.own.source), **known}
    if contract.kind == "protobuf":
        return {f"{name}.{contract.schema.name}.binpb": contract.schema.files}
    return {f"{name}.json": _json(contract.schema)}


def stale(folder: Path, name: str, files: dict[str, bytes]) -> Iterator[Path]:
    """Give what is of an entry in a folder, and isn't one of its files any more."""
    for suffix in _SUFFIXES:
        for path in (folder / f"{name}{suffix}", *folder.glob(f"{name}.*{suffix}")):
            if path.name not in files and path.is_file():
                yield path


def load_kept(folder: Path, name: str) -> Contract | None:
    """Read the schema of an entry, None where it has none there; raises ConfigError."""
    found = [path.name for suffix in (".json", ".avsc") if (path := folder / f"{name}{suffix}").is_file()]
    # A compiled file may hold several messages: which it is, its name says.
    compiled = sorted(path.name for path in folder.glob(f"{name}.*.binpb"))
    found += [f"{each}#{each.removeprefix(f'{name}.').removesuffix('.binpb')}" for each in compiled]
    if len(found) > 1:
        raise ConfigError(f"{folder}: {' and '.join(found)} are all of it: keep one")
    return load(found[0], folder.resolve()) if found else None


def _json(schema: Any) -> bytes:
    return (json.dumps(schema, indent=2, ensure_ascii=False) + "\n").encode()
