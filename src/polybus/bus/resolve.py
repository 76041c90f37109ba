"""Which binding to use, and where it came from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from polybus.binding import Binding, Entity
from polybus.bus.reference import read, scheme_of
from polybus.errors import BindingError
from polybus.registry import each
from polybus.variables import BINDING, REQUIRED, misspelt

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["BINDING_FILE", "TOPOLOGY_FILE", "VARIABLE", "Found", "find", "platforms", "resolve"]

VARIABLE = BINDING
BINDING_FILE = "polybus.binding.json"
TOPOLOGY_FILE = "polybus.toml"
STORE = Path(".polybus") / "bus.db"
LOCAL = Path(".polybus") / "local"
"""Where `polybus local` writes its bindings."""


class Found(NamedTuple):
    """A binding, a phrase that says where it came from, and why that may be a surprise: "" where it was asked for."""

    binding: Binding
    origin: str
    doubt: str = ""


def resolve(
    source: Binding | Topology | Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
    origin: str = "the argument of connect",
) -> tuple[Binding, str]:
    """Return the binding that `source` means, and a phrase that says where it came from; as `find` does."""
    found = find(source, environ=environ, start=start, origin=origin)
    return found.binding, found.origin


def find(
    source: Binding | Topology | Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
    origin: str = "the argument of connect",
) -> Found:
    """Return the binding that `source` means, and where it came from; `origin` names `source`.

    Looks at `environ` (os.environ) and upward from `start` (the working directory) where `source` is None. Raises
    ConfigError with what to do where nothing is found or what is found is wrong.
    """
    environ = os.environ if environ is None else environ
    start = Path.cwd() if start is None else start
    if isinstance(source, Binding):
        return Found(source, origin)
    if isinstance(source, Path):
        return _from_path(source, origin)
    if isinstance(source, str):
        return _from_text(source, origin, start)
    if source is not None:
        return Found(_in_memory(source), "the topology given to connect, in memory")
    variable = environ.get(VARIABLE, "").strip()
    if variable:
        return _from_text(variable, VARIABLE, start)
    return _from_files(environ, start)


def _from_text(text: str, origin: str, start: Path) -> Found:
    if text == "embedded":
        found = _upward(TOPOLOGY_FILE, start)
        if found is None:
            raise BindingError(f"{origin} says `embedded`, and there is no {TOPOLOGY_FILE} in {start} or above it")
        return Found(_embedded(found), f"{found}, embedded, as {origin} says")
    if text.lstrip().startswith("{"):
        return Found(Binding.from_json(text, source=origin), f"the JSON in {origin}")
    if scheme_of(text) is not None:
        return Found(Binding.from_json(read(text, origin), source=text), f"{text}, named by {origin}")
    return _from_path(Path(text), origin)


def _started_again(path: Path) -> str:
    """Return the command that writes such a file, "" where it is none of a local cloud's."""
    cloud, _, rest = path.name.partition(".")
    if path.parent.parts[-2:] == LOCAL.parts:
        return f"polybus local up --cloud {cloud}"
    if path.parent.parent.parts[-2:] == LOCAL.parts:
        return f"polybus up {rest.removesuffix('.binding.json')} --local"
    return ""


def _from_path(path: Path, origin: str) -> Found:
    if path.suffix == ".toml":
        return Found(_embedded(path), f"{path}, embedded, named by {origin}")
    if not path.exists():
        if again := _started_again(path):
            raise BindingError(
                f"{path}: the local cloud is down, and {origin} still names it: `{again}` starts it again; else "
                f"`unset {VARIABLE}`"
            )
        raise BindingError(
            f"{path}: No such file or directory; {origin} names it, from {Path.cwd()}. "
            "`pulumi stack output polybus --json` prints a stack's binding"
        )
    return Found(Binding.from_file(path), f"{path}, named by {origin}")


def _from_files(environ: Mapping[str, str], start: Path) -> Found:
    found = _upward(BINDING_FILE, start)
    if found is not None:
        return Found(Binding.from_file(found), str(found))
    found = _upward(TOPOLOGY_FILE, start)
    if found is None:
        raise BindingError(
            f"no binding: {_not_set(environ)}, and there is no {BINDING_FILE} or {TOPOLOGY_FILE} in {start} or above "
            "it; `polybus init` makes a topology, `pulumi stack output polybus --json` prints a stack's binding"
        )
    _refuse_what_was_not_meant(environ, found)
    binding = _embedded(found)
    doubt = (
        f"nothing asked for the embedded backend: {_not_set(environ)}, there is no {BINDING_FILE}, and {found} is at "
        f"hand; what is published stays on this disk. Set {VARIABLE} to a stack's binding, or to `embedded`"
    )
    return Found(binding, f"{found}, embedded", doubt)


def _refuse_what_was_not_meant(environ: Mapping[str, str], topology: Path) -> None:
    """Raise BindingError where the embedded backend is hardly what was meant, as far as the environment tells."""
    to_do = f"set {VARIABLE} to the stack's binding, or to `embedded` if you mean it"
    instead = f"the embedded backend of {topology} is not taken for it: {to_do}"
    if VARIABLE in environ:
        raise BindingError(f"{VARIABLE} is set, and empty; {instead}, or unset it")
    slip = next((name for name, meant in misspelt(environ).items() if meant == VARIABLE), None)
    if slip is not None:
        raise BindingError(f"{slip} is set, and {VARIABLE} is not: did you mean {VARIABLE}? {instead}")
    if environ.get(REQUIRED, "").lower() in ("1", "true"):
        raise BindingError(f"a binding is required, and {VARIABLE} is not set; {instead}")
    platform = next(_marks(environ), None)
    if platform is not None:
        raise BindingError(
            f"this runs on {platform}, and {VARIABLE} is not set: the embedded backend of {topology} would write to "
            f"a disk that vanishes; {to_do}"
        )


def platforms() -> dict[str, str]:
    """Return the variables that platforms set for what runs on them, as `polybus.cloud.Cloud.platforms` says."""
    every = {"KUBERNETES_SERVICE_HOST": "Kubernetes"}
    for cloud in each("driver"):
        every.update(cloud.platforms)
    return every


def _marks(environ: Mapping[str, str]) -> Iterator[str]:
    """Give the names of the platforms whose marks are there."""
    for mark, name in platforms().items():
        variable, has_text, text = mark.partition("=")
        if environ.get(variable, "").startswith(text) if has_text else variable in environ:
            yield f"{name} ({environ[variable]})" if has_text else name


def _not_set(environ: Mapping[str, str]) -> str:
    slip = next((name for name, meant in misspelt(environ).items() if meant == VARIABLE), None)
    state = f"{VARIABLE} is set, and empty" if VARIABLE in environ else f"{VARIABLE} is not set"
    return state if slip is None else f"{state} ({slip} is: did you mean {VARIABLE}?)"


# Topologies are read here alone: what runs on a binding, as everything in a cloud does, starts without their reader.


def _in_memory(topology: Topology) -> Binding:
    from polybus.embedded.plan import local_binding

    return local_binding(topology, backend="memory")


def _embedded(topology: Path) -> Binding:
    from polybus.embedded.plan import local_binding
    from polybus.topology.file import load

    folder = topology.resolve().parent
    binding = local_binding(load(topology), backend="sqlite", path=folder / STORE)
    return _with_schemas(binding, folder)


def _with_schemas(binding: Binding, folder: Path) -> Binding:
    """Name the files of schemas by their whole paths: they are relative to the topology, wherever this runs."""
    if not any(entity.schema for entity in (*binding.topics.values(), *binding.queues.values())):
        return binding
    from msgspec.structs import replace

    from polybus.contracts.load import located

    def of(entities: Mapping[str, Entity]) -> dict[str, Entity]:
        return {
            name: entity if entity.schema is None else replace(entity, schema=located(entity.schema, folder))
            for name, entity in entities.items()
        }

    return replace(
        binding, topics=of(binding.topics), subscriptions=of(binding.subscriptions), queues=of(binding.queues)
    )


def _upward(name: str, start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / name).is_file():
            return folder / name
    return None
