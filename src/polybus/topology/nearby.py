"""The topology at hand, to say why a name isn't known."""

from __future__ import annotations

from pathlib import Path

from polybus.errors import ConfigError

__all__ = ["declaring"]


def declaring(name: str, *, bus: str, but: str) -> Path | None:
    """Return the nearest polybus.toml, from the working directory upward, where it declares a name of this bus.

    None where it doesn't, where it can't be read, and where `but` is its own digest, or "".
    """
    from polybus.topology.file import load
    from polybus.topology.model import digest

    here = Path.cwd()
    paths = (folder / "polybus.toml" for folder in (here, *here.parents))
    path = next((path for path in paths if path.is_file()), None)
    if path is None or not but:
        return None
    try:
        found = load(path)
    except ConfigError:
        return None
    names = {*found.topics, *found.subscriptions, *found.queues}
    return path if found.name == bus and name in names and digest(found) != but else None
