"""From what a topology says of a schema to a contract."""

from __future__ import annotations

import importlib
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from polybus.errors import ConfigError, MissingExtra

__all__ = ["FORMS", "Contract", "Kind", "file_of", "is_file", "load", "located"]

Kind = Literal["json", "avro", "protobuf"]

FORMS: Final = (
    'a Python type, "shop.messages:Order", a class that protoc made, "shop.order_pb2:Order", or a file: .json (JSON '
    'Schema), .avsc (Avro), .binpb or .desc (compiled Protobuf), "order.binpb#shop.Order"'
)
_SUFFIXES: Final[dict[str, Kind]] = {
    ".json": "json",
    ".avsc": "avro",
    ".binpb": "protobuf",
    ".desc": "protobuf",
    ".proto": "protobuf",
}


@dataclass(frozen=True, slots=True)
class Contract:
    """What messages of one topic or queue are.

    `schema` is a JSON Schema, the `polybus.contracts.avro_file.Versions` of an Avro one, or a
    `polybus.contracts.proto_file.Message`. `annotation` is the Python type, None where a file says it.
    """

    reference: str
    kind: Kind
    schema: Any = field(repr=False)
    annotation: Any = None


def file_of(reference: str) -> tuple[str, str]:
    """Return the path of a reference to a file, and the name of the message in it, "" where none is named."""
    path, _, name = reference.partition("#")
    return path, name


def is_file(reference: str) -> bool:
    """Say whether a reference is one to a file."""
    return Path(file_of(reference)[0]).suffix in _SUFFIXES


def located(reference: str, folder: Path) -> str:
    """Return a reference to a file with its whole path, from the folder that it was relative to; others as they are."""
    if not is_file(reference):
        return reference
    path, name = file_of(reference)
    return f"{(folder / path).resolve()}{'#' if name else ''}{name}"


def load(reference: str, folder: Path | None = None) -> Contract:
    """Read a contract; raises ConfigError that says what is wrong with it, without a place.

    Files are relative to `folder`; without it, they are looked for from the working directory upward. Types are
    imported.
    """
    if not is_file(reference):
        return _of_type(reference)
    path, name = file_of(reference)
    found = _find(Path(path), folder)
    if _SUFFIXES[found.suffix] == "protobuf":
        return Contract(reference, "protobuf", _compiled(found, Path(path), name))
    if _SUFFIXES[found.suffix] == "avro":
        from polybus.contracts.avro_file import versions_of

        return Contract(reference, "avro", versions_of(found))
    try:
        text = found.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{found}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{found}: not UTF-8") from None
    try:
        schema = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{found}: not JSON: {error}") from None
    _refuse_ill_formed(found, schema)
    return Contract(reference, "json", schema)


def _compiled(path: Path, declared: Path, name: str) -> Any:
    from polybus.contracts.proto_file import how_to_compile, message_in

    if path.suffix == ".proto":
        raise ConfigError(how_to_compile(declared, name))
    try:
        return message_in(path.read_bytes(), name)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    except MissingExtra:
        raise
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _find(path: Path, folder: Path | None) -> Path:
    if path.is_absolute():
        return path
    if folder is not None:
        return folder / path
    here = Path.cwd()
    for each in (here, *here.parents):
        if (each / path).is_file():
            return each / path
    raise ConfigError(f"there is no {path} in {here} or above it")


def _refuse_ill_formed(path: Path, schema: Any) -> None:
    from polybus.contracts.json_shape import ill_formed

    for place, why in ill_formed(schema):
        raise ConfigError(f"{path}: at {place}: {why}")


def _of_type(reference: str) -> Contract:
    from polybus.contracts.python_schema import schema_of

    module_name, separator, name = reference.partition(":")
    if not separator or not name:
        raise ConfigError(f"{reference!r} is none of: {FORMS}")
    _see_the_working_directory()
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # noqa: BLE001 - it is someone's module: anything may come of it
        raise ConfigError(f"{module_name} can't be imported ({type(error).__name__}: {error})") from None
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{module_name} has no {name}")
        found = getattr(found, part)
    if hasattr(found, "DESCRIPTOR") and callable(getattr(found, "FromString", None)):
        from polybus.contracts.proto_file import message_of

        return Contract(reference, "protobuf", message_of(found.DESCRIPTOR), found)
    try:
        from polybus.body import decoder

        decoder(found)
        return Contract(reference, "json", schema_of(found), found)
    except TypeError as error:
        raise ConfigError(f"{reference} is no type of messages: {error}") from None


def _see_the_working_directory() -> None:
    """Let modules be found that are beside polybus.toml, as `polybus run` does."""
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
