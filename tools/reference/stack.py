"""The page of a stack's configuration: its keys, as the clouds' providers read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from polybus.provision.configured import EVERYWHERE
from polybus.registry import built_in
from tools.reference.markdown import code, table

__all__ = ["page"]

_HEAD = """\
# The stack's configuration

Keys of `Pulumi.STACK.yaml`, in the namespace `polybus`: what differs between environments, and so isn't in
polybus.toml. A key that isn't here, or is another cloud's, is refused before the first resource. What each of them
brings about: [provisioning](../provisioning.md).

"""


def page() -> str:
    """Return the page."""
    return _HEAD + table(["key", "clouds", "what it is"], _rows())


def _rows() -> Iterator[list[str]]:
    yield from ([code(f"polybus:{key}"), "all", meaning] for key, meaning in EVERYWHERE.items())
    said: defaultdict[str, dict[str, list[str]]] = defaultdict(dict)
    for cloud in built_in("provider"):
        provider: Any = cloud.load("provider")
        for key, meaning in provider.keys.items():
            said[key].setdefault(meaning, []).append(cloud.name)
    for key, meanings in said.items():
        yield from ([code(f"polybus:{key}"), ", ".join(clouds), meaning] for meaning, clouds in meanings.items())
