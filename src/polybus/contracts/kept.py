"""A folder of schemas as they were published: one file for each topic and queue, by its name."""

from __future__ import annotations

import json
from pathlib import Path

from polybus.contracts.load import Contract, load

__all__ = ["load_kept", "text_of", "written"]


def written(name: str, contract: Contract) -> str:
    """Return the name of the file that an entry's schema is kept in."""
    return f"{name}.json"


def text_of(contract: Contract) -> str:
    """Return a schema as its file's text, the same for the same schema."""
    return json.dumps(contract.schema, indent=2, ensure_ascii=False) + "\n"


def load_kept(folder: Path, name: str) -> Contract | None:
    """Read the schema of an entry, None where it has none there; raises ConfigError."""
    path = folder / f"{name}.json"
    return load(path.name, folder) if path.is_file() else None
