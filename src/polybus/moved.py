"""Where modules were before each cloud had a folder of its own.

Programs and backends that import them by the old names go on working, with a DeprecationWarning, until 0.2. The old
name is the same module as the new one, so that what is patched in one is patched in the other.
"""

from __future__ import annotations

import re
import sys
import warnings
from functools import partial
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["spec_of"]

# The first pattern that fits the whole name, and what it stands for now.
_MOVES = (
    (r"backends\.portable", "portable"),
    (r"backends\.embedded", "embedded.rules"),
    (r"backends\.(memory|sqlite)\.(\w+)", r"embedded.\1.\2"),
    (r"backends\.(aws|azure|gcp)\.live", r"clouds.\1.live"),
    (r"backends\.(aws|azure|gcp)\.(\w+)", r"clouds.\1.driver.\2"),
    (r"plan\.local", "embedded.plan"),
    (r"plan\.(aws|azure|gcp)", r"clouds.\1.plan.resources"),
    (r"plan\.(check|filters)_(aws|azure|gcp)", r"clouds.\2.plan.\1"),
    (r"plan\.(aws|azure|gcp)_(watch|rights|place|policy_size|push|namespace|invokers)", r"clouds.\1.plan.\2"),
    (r"plan\.sns_conditions", "clouds.aws.plan.conditions"),
    (r"provision\.(aws|azure|gcp)", r"clouds.\1.stack"),
    (r"localcloud\.aws\.realise", "clouds.aws.local"),
    (r"localcloud\.servicebus\.realise", "clouds.azure.local"),
    (r"localcloud\.pubsub\.realise", "clouds.gcp.local"),
)


_PACKAGES = (
    (r"backends\.(memory|sqlite)", r"embedded.\1"),
    (r"backends\.(aws|azure|gcp)", r"clouds.\1.driver"),
    (r"backends", "registry"),
)


class _Alias:
    """Loads the module of the new name, and puts it under the old one."""

    def __init__(self, new: str) -> None:
        self.new = f"polybus.{new}"

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        warnings.warn(f"{module.__name__} is {self.new} now; the old name ends with 0.2", DeprecationWarning, 2)
        self.load(module)

    def load(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(self.new)


class _Package(_Alias):
    """A package without files, whose names are those of the new one: what was in it is found here again, as above."""

    def load(self, module: ModuleType) -> None:
        module.__getattr__ = partial(getattr, import_module(self.new))  # type: ignore[method-assign] # PEP 562


def spec_of(name: str) -> ModuleSpec | None:
    """Return how to load a module by its old name, None where it never had one."""
    inner = name.removeprefix("polybus.")
    for moves, loader in ((_PACKAGES, _Package), (_MOVES, _Alias)):
        for pattern, new in moves:
            found = re.fullmatch(pattern, inner)
            if found is not None:
                made: Any = loader(found.expand(new))
                return ModuleSpec(name, made, is_package=loader is _Package)
    return None
