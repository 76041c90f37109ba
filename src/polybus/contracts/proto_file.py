"""Protobuf messages: from a compiled file, or from a class that protoc made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polybus.errors import ConfigError, MissingExtra

__all__ = ["Message", "how_to_compile", "message_in", "message_of"]


@dataclass(frozen=True, slots=True)
class Message:
    """A message type: `files` is a FileDescriptorSet with all that it takes, those that others import first."""

    name: str
    files: bytes = field(repr=False)
    descriptor: Any = field(repr=False)
    pool: Any = field(repr=False, compare=False)  # descriptors don't hold it in all implementations

    @property
    def made(self) -> Any:
        """The class of such messages."""
        from google.protobuf.message_factory import GetMessageClass

        return GetMessageClass(self.descriptor)


def how_to_compile(path: Path, name: str) -> str:
    """Say what to do with a .proto file, which can't be read as it is."""
    compiled = path.with_suffix(".binpb")
    named = f"{compiled}#{name or 'package.Message'}"
    return (
        f"{path} takes a compiler: run `protoc --include_imports --descriptor_set_out={compiled} {path}` (or "
        f'`buf build -o {compiled}`), and have schema = "{named}"; or name a class that protoc made, '
        f'"package.{path.stem}_pb2:Message"'
    )


def message_of(descriptor: Any) -> Message:
    """Return a message type by the descriptor of a class that protoc made."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

    files = FileDescriptorSet()
    for each in _with_imports(descriptor.file, set()):
        proto = FileDescriptorProto()
        each.CopyToProto(proto)
        files.file.append(proto)
    return message_in(files.SerializeToString(deterministic=True), descriptor.full_name)


def _with_imports(file: Any, seen: set[str]) -> Iterator[Any]:
    if file.name in seen:
        return
    seen.add(file.name)
    for each in file.dependencies:
        yield from _with_imports(each, seen)
    yield file


def message_in(data: bytes, name: str) -> Message:
    """Return a message type of a FileDescriptorSet; raise ConfigError, MissingExtra.

    Without a name it is the only one at the top of the last file.
    """
    try:
        from google.protobuf.descriptor_pb2 import FileDescriptorSet
        from google.protobuf.descriptor_pool import DescriptorPool
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingExtra("protobuf", "protobuf") from None
    try:
        files = FileDescriptorSet.FromString(data)
    except DecodeError:
        raise ConfigError("no FileDescriptorSet, as protoc --descriptor_set_out or buf build writes it") from None
    by_name = {each.name: each for each in files.file}
    if not by_name:
        raise ConfigError("a FileDescriptorSet without files")
    ordered: dict[str, Any] = {}
    for each in by_name:
        _order(each, by_name, ordered)
    pool = DescriptorPool()
    try:
        for file in ordered.values():
            pool.AddSerializedFile(file.SerializeToString())
        full = name or _only(list(ordered.values())[-1])
        descriptor = pool.FindMessageTypeByName(full)
    except KeyError:
        raise ConfigError(f"there is no message {name}, only {', '.join(_names(ordered.values()))}") from None
    except TypeError as error:
        raise ConfigError(f"its files don't hold together: {error}") from None
    kept = FileDescriptorSet(file=ordered.values())
    return Message(full, kept.SerializeToString(deterministic=True), descriptor, pool)


def _order(name: str, by_name: Mapping[str, Any], ordered: dict[str, Any]) -> None:
    if name in ordered:
        return
    if name not in by_name:
        raise ConfigError(f"it has no {name}, which is imported: make it with --include_imports")
    for each in by_name[name].dependency:
        _order(each, by_name, ordered)
    ordered[name] = by_name[name]


def _only(file: Any) -> str:
    names = list(_names([file]))
    if len(names) != 1:
        raise ConfigError(f"which message? Name it after a #: {', '.join(names) or 'there is none'}")
    return names[0]


def _names(files: Any) -> Iterator[str]:
    for file in files:
        for each in file.message_type:
            yield f"{file.package}.{each.name}" if file.package else each.name
