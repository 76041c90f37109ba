"""Which binding to use, and where it came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from polybus.binding import Binding
from polybus.errors import BindingError

if TYPE_CHECKING:
    from polybus.topology.model import Topology

__all__ = ["BINDING_FILE", "TOPOLOGY_FILE", "VARIABLE", "resolve"]

VARIABLE = "POLYBUS_BINDING"
BINDING_FILE = "polybus.binding.json"
TOPOLOGY_FILE = "polybus.toml"
STORE = Path(".polybus") / "bus.db"

# Variables that platforms set for what runs on them, each documented by its platform.
_PLATFORMS = {
    "KUBERNETES_SERVICE_HOST": "Kubernetes",
    "AWS_LAMBDA_FUNCTION_NAME": "AWS Lambda",
    "ECS_CONTAINER_METADATA_URI_V4": "Amazon ECS",
    "K_SERVICE": "Cloud Run",
    "CLOUD_RUN_JOB": "Cloud Run",
    "WEBSITE_SITE_NAME": "Azure App Service",
    "CONTAINER_APP_NAME": "Azure Container Apps",
}


def resolve(
    source: Binding | Topology | Path | str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    start: Path | None = None,
    origin: str = "the argument of connect",
) -> tuple[Binding, str]:
    """Return the binding that `source` means, and a phrase that says where it came from; `origin` names `source`.

    Looks at `environ` (os.environ) and upward from `start` (the working directory) where `source` is None. Raises
    ConfigError with what to do where nothing is found or what is found is wrong.
    """
    environ = os.environ if environ is None else environ
    start = Path.cwd() if start is None else start
    if isinstance(source, Binding):
        return source, origin
    if isinstance(source, Path):
        return _from_path(source, origin)
    if isinstance(source, str):
        return _from_text(source, origin, start)
    if source is not None:
        return _in_memory(source), "the topology given to connect, in memory"
    variable = environ.get(VARIABLE, "").strip()
    if variable:
        return _from_text(variable, VARIABLE, start)
    return _from_files(environ, start)


def _from_text(text: str, origin: str, start: Path) -> tuple[Binding, str]:
    if text == "embedded":
        found = _upward(TOPOLOGY_FILE, start)
        if found is None:
            raise BindingError(f"{origin} says `embedded`, and there is no {TOPOLOGY_FILE} in {start} or above it")
        return _embedded(found), f"{found}, embedded, as {origin} says"
    if text.lstrip().startswith("{"):
        return Binding.from_json(text, source=origin), f"the JSON in {origin}"
    return _from_path(Path(text), origin)


def _from_path(path: Path, origin: str) -> tuple[Binding, str]:
    if path.suffix == ".toml":
        return _embedded(path), f"{path}, embedded, named by {origin}"
    if not path.exists():
        raise BindingError(
            f"{path}: No such file or directory; {origin} names it, from {Path.cwd()}. "
            "`pulumi stack output polybus --json` prints a stack's binding"
        )
    return Binding.from_file(path), f"{path}, named by {origin}"


def _from_files(environ: Mapping[str, str], start: Path) -> tuple[Binding, str]:
    found = _upward(BINDING_FILE, start)
    if found is not None:
        return Binding.from_file(found), str(found)
    found = _upward(TOPOLOGY_FILE, start)
    if found is None:
        raise BindingError(
            f"no binding: {VARIABLE} is not set, and there is no {BINDING_FILE} or {TOPOLOGY_FILE} in {start} or above "
            "it; `polybus init` makes a topology, `pulumi stack output polybus --json` prints a stack's binding"
        )
    platform = next((name for variable, name in _PLATFORMS.items() if variable in environ), None)
    if platform is not None:
        raise BindingError(
            f"this runs on {platform}, and {VARIABLE} is not set: the embedded backend of {found} would write to "
            f"a disk that vanishes; set {VARIABLE} to the stack's binding, or to `embedded` if you mean it"
        )
    return _embedded(found), f"{found}, embedded"


# Topologies are read here alone: what runs on a binding, as everything in a cloud does, starts without their reader.


def _in_memory(topology: Topology) -> Binding:
    from polybus.embedded.plan import local_binding

    return local_binding(topology, backend="memory")


def _embedded(topology: Path) -> Binding:
    from polybus.embedded.plan import local_binding
    from polybus.topology.file import load

    store = topology.resolve().parent / STORE
    return local_binding(load(topology), backend="sqlite", path=store)


def _upward(name: str, start: Path) -> Path | None:
    for folder in (start, *start.parents):
        if (folder / name).is_file():
            return folder / name
    return None
