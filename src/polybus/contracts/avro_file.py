"""Avro schemas in files: the one that is written by, and beside it those that are read too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from polybus.contracts.avro_schema import IllFormed, Schema, loads
from polybus.errors import ConfigError

__all__ = ["Versions", "beside", "versions_of"]


@dataclass(frozen=True, slots=True)
class Versions:
    """A schema, and others that are known: what was written by one of them is read as `own` says."""

    own: Schema
    known: tuple[Schema, ...] = ()

    def knows(self, schema: Schema) -> bool:
        """Say whether what was written by a schema can be read."""
        return schema.fingerprint in {each.fingerprint for each in (self.own, *self.known)}


def beside(path: Path) -> Iterator[Path]:
    """Give the files of other versions: order.*.avsc beside order.avsc."""
    yield from sorted(path.parent.glob(f"{path.stem}.*{path.suffix}"))


def versions_of(path: Path) -> Versions:
    """Read a schema from its file, and the other versions beside it; raise ConfigError, MissingExtra."""
    return Versions(_read(path), tuple(_read(each) for each in beside(path)))


def _read(path: Path) -> Schema:
    try:
        return loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8") from None
    except IllFormed as error:
        raise ConfigError(f"{path}: {error}") from None
