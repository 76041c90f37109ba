"""The contracts that a topology declares, and what a changed topology breaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from polybus.contracts.breaks import Break, Gap, Side, sides_of
from polybus.contracts.load import Contract, load
from polybus.errors import ConfigError
from polybus.topology.model import Compatibility, Queue, Topic, Topology

__all__ = ["Broken", "Contracts", "breaks_between", "compare", "declared", "readers_of", "required", "resolve"]


@dataclass(frozen=True, slots=True)
class Contracts:
    """The contracts of a topology by the path of their entry, and what is wrong with others, by path too."""

    contracts: Mapping[str, Contract]
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Broken:
    """A change that some of `readers` can't take; `path` is that of the entry."""

    path: str
    readers: tuple[str, ...]
    problem: Break


def declared(topology: Topology) -> Iterator[tuple[str, Topic | Queue]]:
    """Give each topic and queue with a schema, with its path."""
    for section, entries in (("topics", topology.topics), ("queues", topology.queues)):
        for name, entry in entries.items():
            if entry.schema is not None:
                yield f"$.{section}.{name}", entry


def readers_of(topology: Topology, entry: Topic | Queue) -> tuple[str, ...]:
    """Name who is declared to read what is published to an entry: subscriptions, or the queue itself."""
    if isinstance(entry, Queue):
        return (entry.name,)
    return tuple(item.name for item in topology.subscriptions_of(entry.name))


def resolve(topology: Topology, folder: Path) -> Contracts:
    """Read every contract of a topology; files are relative to `folder`."""
    found: dict[str, Contract] = {}
    problems: dict[str, str] = {}
    for path, entry in declared(topology):
        try:
            found[path] = load(str(entry.schema), folder)
        except ConfigError as error:
            problems[f"{path}.schema"] = str(error)
    return Contracts(found, problems)


def required(topology: Topology) -> dict[str, Contract]:
    """Read every contract of a topology, by the name of its entry; raises ConfigError where one can't be read."""
    found = resolve(topology, Path(topology.source).resolve().parent)
    if found.problems:
        raise ConfigError("\n".join(f"at {path}: {problem}" for path, problem in found.problems.items()))
    return {entry.name: found.contracts[path] for path, entry in declared(topology)}


def breaks_between(old: Mapping[str, Contract], new: Mapping[str, Contract], topology: Topology) -> list[Broken]:
    """Say what breaks a reader that `topology`, the new one, declares."""
    found: list[Broken] = []
    for path, entry in declared(topology):
        readers = readers_of(topology, entry)
        if path in old and path in new and readers:
            found += [Broken(path, readers, each) for each in compare(old[path], new[path], entry.compatibility)]
    return found


def compare(old: Contract, new: Contract, compatibility: Compatibility) -> list[Break]:
    """Say what a changed contract breaks, of what `compatibility` guards."""
    found: list[Break] = []
    for side in sides_of(compatibility):
        writer, reader = (old, new) if side is Side.NEW_READER else (new, old)
        if old.kind != new.kind:
            found.append(Break(side, Gap("format-replaced", "$", f"{writer.kind} is sent, and {reader.kind} is read")))
        else:
            found += [Break(side, gap) for gap in _gaps(writer, reader, side)]
    return found


def _gaps(writer: Contract, reader: Contract, side: Side) -> list[Gap]:
    if writer.kind == "protobuf":
        from polybus.contracts.proto_compare import example_text
        from polybus.contracts.proto_compare import gaps as gaps_of_protobuf

        found = gaps_of_protobuf(writer.schema, reader.schema, reader_is_newer=side is Side.NEW_READER)
        return [replace(gap, example=example_text(gap.example)) for gap in found]
    if writer.kind == "avro":
        from polybus.contracts.avro_compare import gaps as gaps_of_avro
        from polybus.contracts.avro_schema import plain

        return [replace(gap, example=plain(gap.example)) for gap in gaps_of_avro(writer.schema, reader.schema)]
    from polybus.contracts.json_compare import gaps

    return gaps(writer.schema, reader.schema)
